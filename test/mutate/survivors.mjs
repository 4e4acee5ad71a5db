/**
 * Mutants that survive, and why: of one by its text, or of all in a `place`, a function that only estimates.
 */
export const survivors = [
  // Estimates: wrong, they cost calls or a slot's time, and no invariant. The benchmarks measure what they are worth.
  ...["came", "runsLow", "#prompt", "#learnRate"].map((place) => ({
    file: "pollers.ts",
    place,
    reason: "an estimate of how much is worth asking for: the permits bound it, whatever it says"
  })),
  {
    file: "tokens.ts",
    before: "this.#fill()",
    after: "",
    place: "until",
    reason: "every caller has just asked what is available, which fills"
  },
  {
    file: "demand.ts",
    before: "prefetched.isStarving && polls.size === 0",
    after: "polls.size === 0",
    reason:
      "nothing pokes while no reader waits, nothing is open and nothing is prefetched, but a reader that is about to take"
  },
  {
    file: "openPolls.ts",
    before: "this.#onStopping = this.#onStopping.filter((g) => g !== f)",
    after: "",
    reason: "costs memory: who has gone is told of the stop all the same, and does nothing"
  },
  {
    file: "batches.ts",
    before: "wait > 0",
    after: "wait >= 0",
    reason: "a sleep of nothing yields as well"
  },
  {
    file: "LeaseKeeper.ts",
    before: "due.length % batchSize === 0 || kept.wakeAt > soon",
    after: "kept.wakeAt > soon",
    reason: "fills calls beyond a full one: more extensions in one round, and fewer in the next"
  },
  {
    file: "batches.ts",
    before: "batch.entries.length > 0",
    after: "batch.entries.length >= 0",
    place: "#sendDue",
    reason: "an empty batch is never due"
  },
  {
    file: "noLoss.ts",
    before: "now() < entry.deadline()",
    after: "now() <= entry.deadline()",
    reason: "a tie: the lease ends in this very millisecond, and either answer is right"
  },
  {
    file: "noLoss.ts",
    before: "triedAt < entry.deadline()",
    after: "triedAt <= entry.deadline()",
    reason: "a tie: the lease ended in the very millisecond of the try"
  },
  {
    file: "batches.ts",
    before: "this.#host.rate() * longest >= 1",
    after: "this.#host.rate() * longest > 1",
    reason: "a tie of an estimate"
  },
  {
    file: "batches.ts",
    before: "due === never || (this.#timer.isSet && this.#timer.at <= due)",
    after: "due === never",
    reason: "the timer is set anew for the same time: work, and no other result"
  },
  {
    file: "internal/lease/groupOrder.ts",
    before: "place === undefined || !place.lanes.includes(name)",
    after: "place === undefined",
    reason: "what follows changes nothing for a lane that the item is not in"
  },
  {
    file: "internal/lease/groupOrder.ts",
    before: "place === undefined || place.ready",
    after: "place.ready",
    reason: "only what is in a lane is checked, and that has a place"
  },
  {
    file: "internal/lease/groupOrder.ts",
    before: "lanes.delete(name)",
    after: "",
    reason: "noticed by the test of a million groups, which is left out here for its size"
  },
  {
    file: "run/shares.ts",
    before: "a.dueAt < b.dueAt",
    after: "a.dueAt <= b.dueAt",
    reason: "a tie: two keys are due in the same millisecond"
  },
  {
    file: "run/shares.ts",
    before: "from + 1 / perMillis > now + longest",
    after: "from + 1 / perMillis >= now + longest",
    reason: "a tie"
  },
  {
    file: "run/shares.ts",
    before: "tenant.tokens >= 1 - 1e-6",
    after: "tenant.tokens > 1 - 1e-6",
    reason: "a tie"
  },
  {
    file: "run/shares.ts",
    before: "entry === undefined || !this.#mayBegin(tenant)",
    after: "!this.#mayBegin(tenant)",
    reason: "a key in the ring has something ready: the types do not know"
  },
  {
    file: "run/shares.ts",
    before: "tenant.key === undefined || tenant.waiting + tenant.running > 0",
    after: "tenant.waiting + tenant.running > 0",
    reason: "what has no key is in no map: to delete it there does nothing"
  },
  {
    file: "run/shares.ts",
    place: "#of",
    before: "this.#tenants.size >= this.#sweepAt",
    after: "this.#tenants.size > this.#sweepAt",
    reason: "forgets one key later"
  },
  ...["this.#sweepAt = Math.max(fewKeys, 2 * this.#tenants.size)", "Math.max(fewKeys, 2 * this.#tenants.size)"].map(
    (before) => ({
      file: "run/shares.ts",
      before,
      reason: "noticed by the test of 100,000 keys, which is left out here for its size"
    })
  ),
  {
    file: "backOff.ts",
    before: "Exit.isFailure(exit) || !exit.value",
    after: "!exit.value",
    reason: "a failure has no value"
  },
  {
    file: "turns.ts",
    before: "(owed[member] ?? 0) >= 1 - 1e-9",
    after: "(owed[member] ?? 0) > 1 - 1e-9",
    reason: "a tie"
  },
  {
    file: "turns.ts",
    before: "members - 1",
    after: "members + 1",
    reason: "nobody has a rank out of range"
  },
  {
    file: "turns.ts",
    before: "member > 0",
    after: "member >= 0",
    reason: "the first is never owed anything"
  },
  {
    file: "turns.ts",
    before: "member < members",
    after: "member <= members",
    reason: "nobody has a rank out of range"
  },
  {
    file: "turns.ts",
    before: "later < members",
    after: "later <= members",
    reason: "nobody has a rank out of range"
  },
  {
    file: "sharedPermits.ts",
    before: "this.now + waits",
    after: "this.now - waits",
    reason: "nobody asks for when that timer is set"
  },
  {
    file: "sharedPermits.ts",
    before: "oldest !== undefined && oldest + waits <= this.#shared.now",
    after: "oldest + waits <= this.#shared.now",
    reason: "a sum without a number is never less"
  }
]
