/**
 * Some servers like SQS leave out what order and limits rest on. It is said once, and met on the safe side: messages of
 * a FIFO queue whose groups are not known are one group.
 */
import type * as LeaseQueue from "@millrace/core/LeaseQueue"
import * as Effect from "effect/Effect"
import type { SqsQueue } from "../../SqsQueue.js"

/** The group of messages whose server does not say theirs. */
const oneGroup = "group-unknown"

/** Warns of what is missing in received messages, the first time of each kind, and puts it in. */
export const complete = ({ fifo, name }: SqsQueue) => {
  const said = new Set<string>()
  const warn = (problem: string) =>
    Effect.suspend(() => {
      if (said.has(problem)) return Effect.void
      said.add(problem)
      return Effect.logWarning(`the server of ${name} ${problem}`)
    })
  const lacksGroup = ({ group }: LeaseQueue.Message) => fifo && group === undefined
  const lacksCount = ({ system }: LeaseQueue.Message) => system["ApproximateReceiveCount"] === undefined
  return (messages: ReadonlyArray<LeaseQueue.Message>): Effect.Effect<ReadonlyArray<LeaseQueue.Message>> =>
    !messages.some((message) => lacksGroup(message) || lacksCount(message))
      ? Effect.succeed(messages)
      : Effect.zipRight(
          Effect.zipRight(
            Effect.when(
              warn(
                "does not say the groups of its messages (MessageGroupId): they are taken for one group, one at a time"
              ),
              () => messages.some(lacksGroup)
            ),
            Effect.when(
              warn(
                "does not say how often a message was received (ApproximateReceiveCount): each attempt counts as the first, and a retry policy's limit of attempts is never reached; give the queue a maxReceiveCount"
              ),
              () => messages.some(lacksCount)
            )
          ),
          Effect.sync(() =>
            messages.map((message) => (lacksGroup(message) ? { ...message, group: oneGroup } : message))
          )
        )
}
