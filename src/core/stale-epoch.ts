/** Nothing more is lent under this epoch of a spender: a later one was opened, or what it had was frozen. */
export class StaleEpoch extends Error {
  readonly spender: string

  constructor(spender: string, cause?: unknown) {
    super(`a later epoch of spender ${spender} stands`, { cause })
    this.name = 'StaleEpoch'
    this.spender = spender
  }
}
