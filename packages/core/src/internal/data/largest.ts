/**
 * The `n` items of the largest rank, the largest first: in one pass that keeps no more than those, however many there are.
 * Of equal ranks the first ones.
 */
export const largest = <A>(items: Iterable<A>, n: number, rank: (item: A) => number): Array<A> => {
  const kept: Array<{ readonly item: A; readonly rank: number }> = []
  for (const item of items) {
    const own = rank(item)
    const last = kept.at(-1)
    if (kept.length >= n && last !== undefined && own <= last.rank) continue
    let place = kept.length
    while (place > 0 && (kept[place - 1]?.rank ?? own) < own) place--
    kept.splice(place, 0, { item, rank: own })
    if (kept.length > n) kept.pop()
  }
  return kept.map(({ item }) => item)
}
