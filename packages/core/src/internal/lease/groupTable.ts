/** What is in flight by group, on a queue without order: kept as messages come and end, since figures ask for it each second. */
interface Grouped {
  readonly message: { readonly group?: string | undefined }
}

export interface Group<M> {
  readonly name: string
  /** In flight, in the order in which they came. */
  readonly members: Set<M>
}

export class GroupTable<M extends Grouped> {
  readonly #groups = new Map<string, Group<M>>()

  get size(): number {
    return this.#groups.size
  }

  [Symbol.iterator](): IterableIterator<Group<M>> {
    return this.#groups.values()
  }

  in(name: string): Iterable<M> {
    return this.#groups.get(name)?.members ?? []
  }

  join(name: string, member: M): void {
    const group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, { name, members: new Set([member]) })
    else group.members.add(member)
  }

  /** It has ended. */
  leave(member: M): void {
    const { group: name } = member.message
    const group = name === undefined ? undefined : this.#groups.get(name)
    if (group === undefined) return
    group.members.delete(member)
    if (group.members.size === 0) this.#groups.delete(group.name)
  }
}
