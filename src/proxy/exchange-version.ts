/** What the versions of an API mean for a request and its answer: which bodies are held to be translated, and which cannot be. */
import { REFUSAL } from '#contract'
import type { VersionedRequest } from '#routing'
import { bodyOfRequest, type TranslatedResponse, translateResponse } from '#translation'
import type { ExchangeTarget } from './exchange-target.ts'
import { type InsteadChoice, refused } from './http-exchange.ts'

/**
 * `hold`: the request's body is to be held as a whole, and then translated.
 * @param length of the body as far as it is told, else -1
 */
export function passOrHold(
  target: ExchangeTarget,
  versioned: VersionedRequest | undefined,
  hasBody: boolean,
  length: number,
): 'pass' | 'hold' | InsteadChoice {
  if (versioned?.translated === undefined || !hasBody) return 'pass'
  switch (bodyOfRequest(versioned.translated.version, versioned.routed)) {
    case 'other':
      return 'pass'
    case 'json':
      if (length <= (target.decision?.versions?.maxBodyBytes ?? 0)) return 'hold'
      return refused(REFUSAL.bodyTooLarge, 'the body of the request is too large to be translated', target)
    case 'encoded':
      return refused(
        REFUSAL.codedBody,
        'the body of the request has a content-encoding: it cannot be translated',
        target,
      )
    case 'charset':
      return refused(REFUSAL.codedBody, 'the body of the request is not in UTF-8: it cannot be translated', target)
  }
}

/** What was translated for one target is good for another. */
export function sameTranslation(one: VersionedRequest | undefined, other: VersionedRequest | undefined): boolean {
  return one?.translated?.version === other?.translated?.version
}

/** What becomes of the answer; undefined: nothing. */
export function answerTranslation(
  versioned: VersionedRequest | undefined,
  authority: string,
  status: number,
  header: (lowerCaseName: string) => string | undefined,
): TranslatedResponse | undefined {
  const version = versioned?.recognised.version
  if (version === undefined || !version.changesAnswers) return undefined
  return translateResponse(version, authority, { status, header })
}
