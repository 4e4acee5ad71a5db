/** One run of `SqsDeadLetter.sendBack`: what it holds, what it has done, and the order of its calls. */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Reason from "@millrace/core/Reason"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import type { MessageAttributes, SendFields } from "../../SqsClient.js"
import { SqsClient } from "../../SqsClient.js"
import * as SqsEncoding from "../../SqsEncoding.js"
import * as SqsError from "../../SqsError.js"
import * as SqsLeaseQueue from "../../SqsLeaseQueue.js"
import * as SqsQueue from "../../SqsQueue.js"
import { bySize, inOrder, unanswered } from "../message/entries.js"
import { longestMessage, mostEntries, problemOf, sizeOf, toSqs } from "../message/limits.js"
import { mapValues } from "../message/mapValues.js"
import * as pointer from "../message/pointer.js"
import { ofArn } from "../queue/reference.js"
import type { DeadLetter, NotSentBack, SendBackReport } from "./letters.js"

export interface Settings {
  readonly source: SqsQueue.SqsQueue
  readonly to: SqsQueue.SqsQueue | undefined
  readonly fromMessage: (message: LeaseQueue.Message) => DeadLetter
  readonly filter: (letter: DeadLetter) => boolean
  readonly edit: (letter: DeadLetter) => string
  readonly encodings: ReadonlyArray<SqsEncoding.Encoding>
  readonly max: number
  readonly visibilityTimeout: Duration.DurationInput
  readonly wait: Duration.Duration
  readonly retry: Schedule.Schedule<unknown, unknown>
  readonly perSecond: number | undefined
}

/** A letter that can be sent. */
interface Ready {
  readonly letter: DeadLetter
  readonly destination: SqsQueue.SqsQueue
  readonly fields: SendFields
  readonly size: number
}

const without = (attributes: MessageAttributes, names: ReadonlyArray<string>): MessageAttributes =>
  Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)))

/** What is not edited goes as it was received; the attributes of what is say how it is written. */
const written = (
  letter: DeadLetter,
  text: string,
  encodings: ReadonlyArray<SqsEncoding.Encoding>
): { readonly body: string; readonly attributes: MessageAttributes } => {
  const own = mapValues(letter.attributes, toSqs)
  if (text === letter.body) return { body: letter.message.body, attributes: own }
  const attributes = pointer.read(text) === undefined ? without(own, pointer.names) : own
  const encoding = SqsEncoding.find(encodings, letter.attributes)
  const body = encoding?.encode(text)
  if (body !== undefined) return { body, attributes }
  return { body: text, attributes: without(attributes, Object.keys(encoding?.attributes ?? {})) }
}

/** Receives that show nothing new, one after another, until the queue counts as seen. */
const idleReceives = 3

const slices = <A>(all: ReadonlyArray<A>, most: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / most) }, (_, n) => all.slice(n * most, (n + 1) * most))

class NotYet extends Data.TaggedError("NotYet") {}

/** Tries again what may succeed later, alone; what is still undone when the schedule ends keeps its failure. */
const settled = <A>(
  entries: ReadonlyArray<A>,
  retry: Settings["retry"],
  call: (entries: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, SqsError.SqsError>
): Effect.Effect<ReadonlyArray<LeaseQueue.EntryResult>, SqsError.SqsError> =>
  Effect.suspend(() => {
    const results = entries.map(() => unanswered)
    let left = entries.map((entry, position) => ({ entry, position }))
    return Effect.suspend(() => call(left.map(({ entry }) => entry))).pipe(
      Effect.flatMap((answers) => {
        left = left.filter(({ position }, index) => {
          const answer = answers[index] ?? unanswered
          results[position] = answer
          return Either.isLeft(answer) && answer.left.reason === "Transient"
        })
        return left.length === 0 ? Effect.void : new NotYet()
      }),
      Effect.retry({ schedule: retry, while: (error) => error._tag === "NotYet" || SqsError.retryable(error) }),
      Effect.catchTag("NotYet", () => Effect.void),
      Effect.as(results)
    )
  })

export const make = Effect.fnUntraced(function* (settings: Settings) {
  const { edit, encodings, filter, fromMessage, max, perSecond, retry, source, to, wait } = settings
  const client = yield* SqsClient
  const context = yield* Effect.context<SqsClient>()
  const port = yield* SqsLeaseQueue.make(source, { visibilityTimeout: settings.visibilityTimeout, encodings })
  const retried = <A, R>(effect: Effect.Effect<A, SqsError.SqsError, R>) =>
    Effect.retry(effect, { schedule: retry, while: SqsError.retryable })
  const atStart = yield* retried(SqsQueue.counts(source))
  const startedAt = yield* Clock.currentTimeMillis

  /** By message id: all that was received and is not deleted, with its latest lease. */
  const held = new Map<string, LeaseQueue.Lease>()
  const seen = new Set<string>()
  /** Sent, and not deleted yet. */
  const undeleted = new Map<string, DeadLetter>()
  const failed = new Map<string, NotSentBack>()
  /** Groups of which one has failed: what follows must not overtake it. */
  const halted = new Set<string | undefined>()
  /** What the sent ones are called where they went, and still are when SQS dead-letters them again. */
  const created = new Set<string>()
  let sentBack = 0
  let kept = 0
  let met = 0

  /** Dead-lettered after the start; in the millisecond of the start (in virtual time, it may last) the count decides. */
  const isLate = ({ id, sentAt = 0 }: DeadLetter) => {
    met += 1
    return created.has(id) || sentAt > startedAt || (sentAt === startedAt && met > atStart.visible)
  }

  const fail = (letter: DeadLetter, reason: string, sent = false) => failed.set(letter.id, { letter, reason, sent })

  /** A server without ARNs names queues by their names. */
  const isSource = (target: string) =>
    target === source.arn || (!target.includes(":") && ofArn(target).name === source.name)

  const destinations = new Map<string, Either.Either<SqsQueue.SqsQueue, string>>()
  const destinationOf = (letter: DeadLetter): Effect.Effect<Either.Either<SqsQueue.SqsQueue, string>> => {
    if (to !== undefined) return Effect.succeed(Either.right(to))
    const named = letter.source
    if (named === undefined) {
      return Effect.succeed(Either.left("it names no source, as it was sent here by hand: name the destination (`to`)"))
    }
    // SQS's own word; an attribute may be a sender's.
    const isKnown = letter.message.system["DeadLetterQueueSourceArn"] !== undefined
    const key = `${isKnown} ${named}`
    const known = destinations.get(key)
    return known !== undefined
      ? Effect.succeed(known)
      : SqsQueue.resolve(named, { retry }).pipe(
          Effect.provide(context),
          Effect.mapError(({ message }) => `its source ${named} cannot be sent to: ${message}`),
          Effect.filterOrFail(
            ({ deadLetter }) => isKnown || (deadLetter !== undefined && isSource(deadLetter.arn)),
            () =>
              `it says that it is from ${named}, and that queue does not send its dead letters here, so anybody may have written it: name the destination (\`to\`)`
          ),
          Effect.either,
          Effect.tap((found) => Effect.sync(() => destinations.set(key, found)))
        )
  }

  const prepare = (letter: DeadLetter, destination: SqsQueue.SqsQueue): Either.Either<Ready, string> => {
    // The user's own, and the encoding may be too: what throws concerns this letter.
    const edited = Either.try({
      try: () => written(letter, edit(letter), encodings),
      catch: (error) => `\`edit\`, or its encoding, threw: ${Reason.of(error)}`
    })
    if (Either.isLeft(edited)) return Either.left(edited.left)
    const { attributes, body } = edited.right
    const size = sizeOf(body, attributes)
    const problem =
      size > longestMessage
        ? `it would have ${size} bytes; SQS takes ${longestMessage}`
        : destination.fifo && letter.group === undefined
          ? `it has no group, which the FIFO queue ${destination.name} demands: name a standard queue (\`to\`)`
          : problemOf(body, attributes)
    if (problem !== undefined) return Either.left(problem)
    const trace = letter.message.system["AWSTraceHeader"]
    const fields: SendFields = {
      MessageBody: body,
      ...(Object.keys(attributes).length > 0 && { MessageAttributes: attributes }),
      ...(trace !== undefined && {
        MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: trace } }
      }),
      ...(letter.group !== undefined && { MessageGroupId: letter.group }),
      // The same each time, so that a repeat after a death between send and delete is a duplicate.
      ...(destination.fifo && { MessageDeduplicationId: letter.id })
    }
    return Either.right({ letter, destination, fields, size })
  }

  const send = (destination: SqsQueue.SqsQueue, run: ReadonlyArray<Ready>) =>
    settled(run, retry, (entries) =>
      Effect.map(
        client.sendMessageBatch({
          QueueUrl: destination.url,
          Entries: entries.map(({ fields }, position) => ({ ...fields, Id: String(position) }))
        }),
        (answer) => {
          for (const { MessageId } of answer.Successful) created.add(MessageId)
          return inOrder(entries.length, answer)
        }
      )
    )

  /** Deletes what was sent; a lease that is over on a FIFO queue leaves the message there. */
  const remove = Effect.fnUntraced(function* (letters: ReadonlyArray<DeadLetter>) {
    const leases = letters.flatMap((letter) => held.get(letter.id) ?? [])
    const results = yield* settled(leases, retry, port.ack)
    for (const [position, result] of results.entries()) {
      const letter = letters[position]
      if (letter === undefined) continue
      if (Either.isLeft(result)) {
        fail(letter, `it was sent, and could not be deleted: ${result.left.message}`, true)
      } else {
        held.delete(letter.id)
        undeleted.delete(letter.id)
        failed.delete(letter.id)
        sentBack += 1
      }
    }
  })

  /** Whether it would overtake one of its group that could not be sent; it then fails too. */
  const overtakes = (letter: DeadLetter, groups: ReadonlySet<string | undefined>) => {
    const would = source.fifo && groups.has(letter.group)
    if (would) fail(letter, "an earlier message of its group could not be sent back")
    return would
  }

  const perCall = Math.min(mostEntries, perSecond ?? mostEntries)
  let nextAt = 0
  /** Waits until so many more may be sent. */
  const pace = (count: number) =>
    perSecond === undefined
      ? Effect.void
      : Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const at = Math.max(now, nextAt)
          nextAt = at + (count * 1000) / perSecond
          return at > now ? Effect.sleep(Duration.millis(at - now)) : Effect.void
        })

  const sendAll = Effect.fnUntraced(function* (letters: ReadonlyArray<DeadLetter>) {
    const byDestination = new Map<SqsQueue.SqsQueue, Array<Ready>>()
    // Apart from `halted` until the earlier ones of these groups are sent.
    const unfit = new Set(halted)
    for (const letter of letters) {
      if (overtakes(letter, unfit)) continue
      const ready = Either.flatMap(yield* destinationOf(letter), (destination) => prepare(letter, destination))
      if (Either.isRight(ready)) {
        const { destination } = ready.right
        byDestination.set(destination, [...(byDestination.get(destination) ?? []), ready.right])
      } else {
        fail(letter, ready.left)
        unfit.add(letter.group)
      }
    }
    for (const [destination, all] of byDestination) {
      for (const run of bySize(all).flatMap((some) => slices(some, perCall))) {
        const sound = run.filter(({ letter }) => !overtakes(letter, halted))
        if (sound.length === 0) continue
        yield* pace(sound.length)
        const results = yield* send(destination, sound)
        for (const [position, { letter }] of sound.entries()) {
          const result = results[position] ?? unanswered
          if (Either.isRight(result)) {
            undeleted.set(letter.id, letter)
          } else {
            fail(letter, result.left.message)
            halted.add(letter.group)
          }
        }
      }
    }
    for (const group of unfit) halted.add(group)
  })

  const receive = Effect.gen(function* () {
    const attemptId = `send-back-${yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)}`
    return yield* retried(port.receive({ max: mostEntries, wait, attemptId }))
  })

  const letters = Effect.gen(function* () {
    for (let idle = 0; idle < idleReceives && sentBack + undeleted.size < max; ) {
      const received = yield* receive
      if (received.length === 0) return
      const fresh = received.filter(({ id }) => !seen.has(id)).map(fromMessage)
      idle = fresh.length === 0 ? idle + 1 : 0
      for (const { id, lease } of received) {
        seen.add(id)
        held.set(id, lease)
      }
      const chosen: Array<DeadLetter> = []
      for (const letter of fresh) {
        const room = !isLate(letter) && sentBack + undeleted.size + chosen.length < max
        const wanted = room ? Either.try(() => filter(letter)) : Either.right(false)
        if (Either.isLeft(wanted)) {
          fail(letter, `\`filter\` threw: ${Reason.of(wanted.left)}`)
          halted.add(letter.group)
        } else if (wanted.right) chosen.push(letter)
        else kept += 1
      }
      // Not to be interrupted between a send and its delete: what is in both queues is worked on twice.
      yield* Effect.uninterruptible(
        Effect.zipRight(
          sendAll(chosen),
          Effect.suspend(() => remove(received.flatMap(({ id }) => undeleted.get(id) ?? [])))
        )
      )
    }
  })

  /** Best effort: a lease that is not given back ends by itself. The heads of groups come last, so nothing overtakes. */
  const release = Effect.suspend(() => {
    const leases = [...held.values()].reverse()
    return Effect.forEach(
      slices(leases, mostEntries),
      (some) => Effect.ignore(port.setLease(some.map((lease) => ({ lease, duration: Duration.zero })))),
      { discard: true }
    )
  })

  return {
    toTheEnd: Effect.ensuring(letters, release),
    report: (): SendBackReport => ({ sentBack, kept, failed: [...failed.values()] })
  }
})
