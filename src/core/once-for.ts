/**
 * Makes something of an object the first time that it is asked for, and keeps it on the object itself. A `WeakMap` would
 * hold what it has of objects that are long gone until the garbage collector's next full round: of calls that is their
 * whole prompt, twice. What is made is of that very object: a copy of it is made anew.
 */
export function onceFor<Of extends object, Made extends object>(make: (of: Of) => Made): (of: Of) => Made {
  const place = Symbol('made once')
  return (of) => {
    const known = (of as { readonly [place]?: Made })[place]
    if (known) return known
    const made = make(of)
    // Not seen by whoever lists, copies or prints the object.
    Object.defineProperty(of, place, { value: made })
    return made
  }
}

/** The same for what outlives calls, such as a set of prices: it may be frozen, and to look it up costs more. */
export function onceForLasting<Of extends object, Made extends {}>(make: (of: Of) => Made): (of: Of) => Made {
  const known = new WeakMap<Of, Made>()
  return (of) => {
    const before = known.get(of)
    if (before !== undefined) return before
    const made = make(of)
    known.set(of, made)
    return made
  }
}
