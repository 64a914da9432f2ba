/** How long a caller's connection may be silent. */
export interface KeepAliveRules {
  /** A silence in an answer that has begun is broken after this long, with what clients skip; absent: never. */
  readonly silenceMs?: number
  /** The status of a stream goes out after this long, whether or not a vendor has answered; absent: never before. */
  readonly commitStreamMs?: number
  /** The same for an answer in one body, of which white space goes ahead. */
  readonly commitBodyMs?: number
}
