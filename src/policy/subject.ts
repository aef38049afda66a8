/**
 * What is being judged: the facts of one connection or request, with what is derived from them computed
 * at most once and only when a rule asks. One object is used again for every judgement (judging is
 * synchronous), so that a request leaves no garbage.
 */
import type { ConnectionFacts, HttpFacts } from '#contract'
import { IpAddress, readIp } from './ip-block.ts'
import { readPaths } from './normalize-path.ts'

const NOWHERE: ConnectionFacts = Object.freeze({ sourceIp: '', destinationIp: '', destinationPort: 0 })

/** An address parsed once per text: requests of one connection ask for the same text again and again. */
class ParsedIp {
  readonly #address = new IpAddress()
  #text = ''

  /** Family 0 when the text is no address. */
  of(text: string): IpAddress {
    if (text !== this.#text) {
      readIp(text, this.#address)
      this.#text = text
    }
    return this.#address
  }
}

export class Subject {
  connection: ConnectionFacts = NOWHERE
  /** Undefined when the connection does not carry HTTP. */
  http: HttpFacts | undefined = undefined
  readonly #source = new ParsedIp()
  readonly #destination = new ParsedIp()
  readonly #paths: string[] = []
  #pathsRead = false
  #pathsGood = false

  begin(connection: ConnectionFacts, http: HttpFacts | undefined): void {
    this.connection = connection
    this.http = http
    this.#pathsRead = false
  }

  /** Lets go of the facts, so that a finished connection can be collected. */
  end(): void {
    this.connection = NOWHERE
    this.http = undefined
  }

  get sourceIp(): IpAddress {
    return this.#source.of(this.connection.sourceIp)
  }

  get destinationIp(): IpAddress {
    return this.#destination.of(this.connection.destinationIp)
  }

  /** All readings of the path; undefined when there is no path or it is malformed. */
  get paths(): readonly string[] | undefined {
    if (this.http === undefined) return undefined
    if (!this.#pathsRead) {
      this.#pathsRead = true
      this.#pathsGood = readPaths(this.http.path, this.#paths) === undefined
    }
    return this.#pathsGood ? this.#paths : undefined
  }
}
