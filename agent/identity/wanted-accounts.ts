/** Service accounts that the node needs certificates of: those of pods that are wanted, and of those that still drain. */

interface Account {
  readonly namespace: string
  readonly serviceAccount: string
}

export class WantedAccounts {
  /** By the pod's uid. */
  readonly #accounts = new Map<string, Account>()

  /** @param wanted pods that are to be enrolled @param enrolled those that are, or still drain */
  update(
    wanted: readonly (Account & { readonly uid: string })[],
    enrolled: readonly { readonly uid: string }[],
  ): Iterable<Account> {
    const stays = new Set([...enrolled, ...wanted].map(({ uid }) => uid))
    for (const uid of this.#accounts.keys()) if (!stays.has(uid)) this.#accounts.delete(uid)
    for (const { uid, namespace, serviceAccount } of wanted) this.#accounts.set(uid, { namespace, serviceAccount })
    return this.#accounts.values()
  }
}
