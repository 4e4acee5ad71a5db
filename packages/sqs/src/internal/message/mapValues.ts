/** Attributes made of others, under the same names. */
export const mapValues = <A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> => {
  // One by one would make of an attribute called `__proto__` what its name says.
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, f(value)]))
}
