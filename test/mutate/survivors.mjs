/**
 * Mutants that survive, and why: of one by its text, or of all in a `place`, a function that only estimates.
 */
export const survivors = [
  // Estimates: wrong, they cost calls or a slot's time, and no invariant. The benchmarks measure what they are worth.
  ...["came", "prompt", "runsLow", "#prompt", "#learnRate"].map((place) => ({
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
  },
  {
    file: "Intake.ts",
    before:
      "[ ...(rate === undefined ? [] : [new TokenBucket(rate.burst, rate.perSecond.unsafeGet, now)]), ...(quota === undefined ? [] : [quota.tokens(now)]) ]",
    after:
      "[...(quota === undefined ? [] : [quota.tokens(now)]), ...(rate === undefined ? [] : [new TokenBucket(rate.burst, rate.perSecond.unsafeGet, now)])]",
    reason: "all of them are asked, in any order"
  },
  {
    file: "Intake.ts",
    before: "[maxInFlight, ...(rate === undefined ? [] : [rate.perSecond])]",
    after: "[...(rate === undefined ? [] : [rate.perSecond]), maxInFlight]",
    reason: "each is listened to, in any order"
  },
  {
    file: "Intake.ts",
    before: 'kind === "transient" && poll.attempt !== undefined',
    after: 'kind === "transient"',
    reason: "on a queue without order nobody takes them: costs memory"
  },
  {
    file: "noLoss.ts",
    before: "this.#calls.delete(fiber)",
    after: "",
    reason: "costs memory: a call that has ended is interrupted in vain"
  },
  {
    file: "noLoss.ts",
    before: 'request._tag === "SetLease" && request.left === true',
    after: "request.left === true",
    reason: "nothing else has it: the types do not know"
  },
  {
    file: "batches.ts",
    before: "this.#timer.at <= due",
    after: "this.#timer.at < due",
    reason: "the timer is set anew for the same time: work, and no other result"
  },
  {
    file: "handBack.ts",
    before: "message.group === undefined || message.sequence === undefined",
    after: "message.group === undefined",
    reason: "nothing is behind no place: the types do not know"
  },
  {
    file: "handBack.ts",
    before: "message.group === undefined || message.sequence === undefined",
    after: "message.sequence === undefined",
    reason: "nothing is in the lane of no group: the types do not know"
  },
  {
    file: "laneTable.ts",
    before: "left <= 0",
    after: "left < 0",
    place: "excess",
    reason: "of a lane that nothing must go back of, nothing is taken"
  },
  {
    file: "LeaseKeeper.ts",
    before: "this.#heartbeat && !kept.final",
    after: "this.#heartbeat",
    reason: "one that is extended no more is looked at once more, and then at its deadline"
  },
  {
    file: "LeaseKeeper.ts",
    before: "0.5 + jitter",
    after: "0.5 - jitter",
    reason: "chance, as likely more as less"
  },
  {
    file: "LeaseKeeper.ts",
    before: "at === undefined || this.#ticker.at <= at",
    after: "at === undefined",
    reason: "the ticker is set anew, for no later than it must: work, and no other result"
  },
  {
    file: "LeaseKeeper.ts",
    before: "this.#ticker.at <= at",
    after: "this.#ticker.at < at",
    reason: "the ticker is set anew for the same time: work, and no other result"
  },
  {
    file: "LeaseKeeper.ts",
    before: "due.length > 0",
    after: "due.length >= 0",
    reason: "a round of no calls"
  },
  {
    file: "LeaseKeeper.ts",
    before: "fiber.addObserver(() => this.#calls.delete(fiber))",
    after: "",
    reason: "costs memory: a round that has ended is interrupted in vain"
  },
  {
    file: "sendBack.ts",
    before: "at > now",
    after: "at >= now",
    reason: "a sleep of nothing"
  },
  {
    file: "outbox.ts",
    before: "this.#fibers.delete(fiber)",
    after: "",
    reason: "costs memory: a call that has ended is interrupted in vain"
  },
  ...[
    ["this.#inFlight >= this.#options.concurrency || this.#timer.at <= at", "this.#timer.at <= at"],
    ["this.#inFlight >= this.#options.concurrency", "this.#inFlight > this.#options.concurrency"],
    ["this.#timer.at <= at", "this.#timer.at < at"]
  ].map(([before, after]) => ({
    file: "outbox.ts",
    before,
    after,
    reason: "a timer for nothing, or set anew for the same time: work, and no other result"
  })),
  {
    file: "sendLanes.ts",
    before: "head !== undefined && head.due < due",
    after: "head.due < due",
    reason: "what offers something has a head: the types do not know"
  },
  {
    file: "sendLanes.ts",
    before: "head.due < due",
    after: "head.due <= due",
    reason: "a tie"
  },
  {
    file: "sendLanes.ts",
    before: "head.next = undefined",
    after: "",
    reason: "costs memory: a message that is sent holds on to those that came after it"
  },
  ...[
    ["lane.exclusive && taken > 0", "lane.exclusive"],
    ["taken > 0", "taken >= 0"]
  ].map(([before, after]) => ({
    file: "sendLanes.ts",
    before,
    after,
    reason: "a lane that is not passed by gives something: no message is larger than a call"
  })),
  {
    file: "sendLanes.ts",
    before: "this.#ready.delete(lane)",
    after: "",
    place: "form",
    reason: "the only lane, empty, offers nothing: it is looked at in vain"
  },
  {
    file: "sendLanes.ts",
    before: "batch.length >= most",
    after: "batch.length > most",
    reason: "the others are looked at in vain: a full call takes nothing of them"
  },
  {
    file: "call.ts",
    before: 'error._tag === "TransportError" && error.status === 413',
    after: "error.status === 413",
    reason: "any other error of this status blames one message, and each goes by itself as well"
  },
  {
    file: "call.ts",
    before: "remaining.length === 1 && only !== undefined",
    after: "remaining.length === 1",
    reason: "one message is there: the types do not know"
  },
  {
    file: "call.ts",
    before: "now() - since > deduplicationWindow",
    after: "now() - since >= deduplicationWindow",
    reason: "a tie, well before the window ends"
  },
  {
    file: "call.ts",
    before: "SenderFault",
    after: "!(SenderFault)",
    place: "$fault",
    reason: "only told: it stands in the error's cause, and nothing asks for more than that it is there"
  },
  {
    file: "SqsLeaseQueue.ts",
    before: "++receives",
    after: "--receives",
    reason: "another number for each receive as well"
  },
  {
    file: "queueBehind.ts",
    before: "result !== undefined && Either.isLeft(result)",
    after: "Either.isLeft(result)",
    reason: "each entry has a result: the types do not know"
  },
  {
    file: "drain.ts",
    before: "waiting.delete(delivery)",
    after: "",
    reason: "costs time: what has ended is looked at again, and does not end twice"
  },
  {
    file: "drain.ts",
    before: "phase === Phase.Claimed && (owner === undefined || owner.closed)",
    after: "(owner === undefined || owner.closed)",
    reason: "what is settled already is handed back by nobody"
  },
  {
    file: "stage.ts",
    before: "this.#ready.size === 0 || !this.#free()",
    after: "!this.#free()",
    reason: "where nothing is ready, nothing is taken"
  },
  ...[
    ["at", "this.#now() + millis", "this.#now() - millis"],
    ["#measure", "this.#now = () => clock.now()", ""],
    ["#setAlarm", "this.#alarm.cancel()", ""]
  ].map(([place, before, after]) => ({
    file: "stage.ts",
    place,
    before,
    after,
    reason:
      "the alarm is set anew, or wakes in vain: work, and no other result (that none is left at the end is tested)"
  })),
  ...[
    "this.#all || this.#lanes.has(item) || this.#laneless.has(item)",
    "this.#all || this.#lanes.has(item)",
    "deliveries.every(({ outcome }) => outcome !== undefined) && this.#laneless.delete(item)"
  ].map((before) => ({
    file: "stage.ts",
    before,
    reason: "it leaves twice, and the second time does nothing"
  })),
  {
    file: "internal/lease/groupOrder.ts",
    before: "x < y",
    after: "x <= y",
    reason: "of two without a sequence: a sort asks only whether the later one comes first"
  },
  {
    file: "lanes.ts",
    before: "only !== undefined && permits.size === 1",
    after: "permits.size === 1",
    reason: "a lane that is the only one is there: the types do not know"
  },
  {
    file: "lanes.ts",
    before: "first !== undefined && this.#host.isHeld(first)",
    after: "this.#host.isHeld(first)",
    reason: "nothing is not held: the types do not know"
  },
  {
    file: "lanes.ts",
    before: "this.#perLane.delete(lane)",
    after: "",
    reason: "costs memory: a lane in which nobody has a permit overflows for nobody"
  },
  {
    file: "lanes.ts",
    before:
      "rules && Sequencer.make<In>({ onReady: host.onReady, mayRun: (item) => host.deliveries(item).some((delivery) => !delivery.isSettling) })",
    after:
      "Sequencer.make<In>({ onReady: host.onReady, mayRun: (item) => host.deliveries(item).some((delivery) => !delivery.isSettling) })",
    reason: "without rules nothing comes into a lane"
  },
  {
    file: "claims.ts",
    before: "this.#latest = delivery.source",
    after: "",
    reason: "costs time: its patience is looked at for each delivery"
  },
  {
    file: "inTurn.ts",
    before: "this.#groupless > looksAt",
    after: "this.#groupless >= looksAt",
    reason: "counts one more, which is not said"
  },
  {
    file: "inTurn.ts",
    before: "key === undefined || isLast(delivery)",
    after: "isLast(delivery)",
    reason: "what has no key has room in any case"
  },
  {
    file: "inTurn.ts",
    before: 'this.#deferred.length === 0 || gate?.flow !== "all"',
    after: 'gate?.flow !== "all"',
    reason: "where nothing was turned back, nothing is pushed"
  },
  {
    file: "inTurn.ts",
    before: "next !== undefined || this.#deferred.length === 0",
    after: "next !== undefined",
    reason: "where nothing was turned back there is no probe, and still nothing is next"
  }
]
