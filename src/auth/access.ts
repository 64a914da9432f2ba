import type { Caller } from '../core/call.ts'

/** Whether every key of the caller's chain allows a model. `model` is the model's own public name; only an exact match counts. */
export function mayUse(caller: Pick<Caller, 'models'>, model: string): boolean {
  return caller.models.every((list) => list.includes(model))
}
