/**
 * A rule of the ledger did not hold. Nothing was changed by the command that found it; whoever runs the engine
 * stops that account's billing, because refusing calls is better than wrong money. The message is the broken rule
 * and holds no amounts, names or keys.
 */
export class LedgerAssertion extends Error {
  constructor(rule: string) {
    super(rule)
    this.name = 'LedgerAssertion'
  }
}

/** Throws LedgerAssertion unless `truth` holds. On in production. `rule` is a constant text: what must be true. */
export function assert(truth: boolean, rule: string): asserts truth {
  if (!truth) throw new LedgerAssertion(rule)
}
