/*
 * Collections of what lives for as long as a call. A `Map` or a `Set` that things are always put into and taken out of
 * makes itself a new table every few steps, and the old one points to the next: once the first of them is old to the
 * garbage collector, all later ones live until its next full round, with everything that was in them. Measured with 20
 * things at a time: 38 % of all that was allocated outlived its use, and 2 % where the tables have boxes that are
 * emptied when their thing is taken out, as here (bench/profile.md).
 */

interface Box<T> {
  value: T | undefined
}

/** What is read of a `Map` of fleeting things; in the order in which their names were first set. */
export class FleetingMap<Key extends string | number, Value extends object> {
  readonly #boxes = new Map<Key, Box<Value>>()

  get size(): number {
    return this.#boxes.size
  }

  get(key: Key): Value | undefined {
    return this.#boxes.get(key)?.value
  }

  has(key: Key): boolean {
    return this.#boxes.has(key)
  }

  set(key: Key, value: Value): void {
    const box = this.#boxes.get(key)
    if (box) box.value = value
    else this.#boxes.set(key, { value })
  }

  /** Says whether it was there. */
  delete(key: Key): boolean {
    const box = this.#boxes.get(key)
    if (!box) return false
    box.value = undefined
    return this.#boxes.delete(key)
  }

  *keys(): Generator<Key, void> {
    yield* this.#boxes.keys()
  }

  *values(): Generator<Value, void> {
    for (const { value } of this.#boxes.values()) if (value) yield value
  }

  *[Symbol.iterator](): Generator<[Key, Value], void> {
    for (const [key, { value }] of this.#boxes) if (value) yield [key, value]
  }
}

/** What is read of a `Set` of fleeting things, which a plain `Set` may stand for. */
export interface Fleeting<T> extends Iterable<T> {
  readonly size: number
  has(one: T): boolean
  add(one: T): unknown
  delete(one: T): unknown
}

/** Fleeting things, in the order in which they were added. */
export class FleetingSet<T extends object> implements Fleeting<T> {
  readonly #things = new FleetingMap<number, T>()
  readonly #numbers = new WeakMap<T, number>()
  #last = 0

  get size(): number {
    return this.#things.size
  }

  has(one: T): boolean {
    return this.#numbers.has(one)
  }

  add(one: T): void {
    if (this.#numbers.has(one)) return
    this.#last += 1
    this.#numbers.set(one, this.#last)
    this.#things.set(this.#last, one)
  }

  delete(one: T): void {
    const number = this.#numbers.get(one)
    if (number === undefined) return
    this.#numbers.delete(one)
    this.#things.delete(number)
  }

  [Symbol.iterator](): Generator<T, void> {
    return this.#things.values()
  }
}
