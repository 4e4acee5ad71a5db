import { expect, it } from "@effect/vitest"
import type { SqsClient, SqsError } from "@millrace/sqs"
import { SqsEmulator } from "@millrace/sqs/emulator"
import { Effect, Fiber, Option } from "effect"

/** The calls of one queue, short to write. */
export const on = (sqs: SqsEmulator.Service, name: string) => {
  const { client } = sqs
  const QueueUrl = sqs.queueUrl(name)
  const entries = (messages: ReadonlyArray<SqsClient.ReceivedMessage>) =>
    messages.map(({ ReceiptHandle }, position) => ({ Id: `e${position}`, ReceiptHandle }))
  return {
    QueueUrl,
    send: (MessageBody: string, fields: Partial<SqsClient.SendFields> = {}) =>
      client.sendMessage({ QueueUrl, MessageBody, ...fields }),
    /** FIFO: the body is the deduplication id as well. */
    sendTo: (group: string, ...bodies: ReadonlyArray<string>) =>
      Effect.forEach(bodies, (MessageBody) =>
        client.sendMessage({ QueueUrl, MessageBody, MessageGroupId: group, MessageDeduplicationId: MessageBody })
      ),
    sendBatch: (...entries: ReadonlyArray<Partial<SqsClient.SendFields> & { readonly Id?: string }>) =>
      client.sendMessageBatch({
        QueueUrl,
        Entries: entries.map((entry, position) => ({ Id: `e${position}`, MessageBody: "body", ...entry }))
      }),
    receive: (max = 10, fields: Partial<SqsClient.ReceiveMessageRequest> = {}) =>
      client.receiveMessage({
        QueueUrl,
        MaxNumberOfMessages: max,
        MessageSystemAttributeNames: ["All"],
        MessageAttributeNames: ["All"],
        ...fields
      }),
    remove: (message: SqsClient.ReceivedMessage) =>
      client.deleteMessage({ QueueUrl, ReceiptHandle: message.ReceiptHandle }),
    removeAll: (messages: ReadonlyArray<SqsClient.ReceivedMessage>) =>
      client.deleteMessageBatch({ QueueUrl, Entries: entries(messages) }),
    change: (message: SqsClient.ReceivedMessage, VisibilityTimeout: number) =>
      client.changeMessageVisibility({ QueueUrl, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout }),
    set: (Attributes: Readonly<Record<string, string>>) => client.setQueueAttributes({ QueueUrl, Attributes }),
    get: (...AttributeNames: ReadonlyArray<string>) => client.getQueueAttributes({ QueueUrl, AttributeNames }),
    permit: (permission: Omit<Parameters<typeof client.addPermission>[0], "QueueUrl">) =>
      client.addPermission({ QueueUrl, ...permission }),
    purge: client.purgeQueue({ QueueUrl }),
    drop: client.deleteQueue({ QueueUrl })
  }
}
export type On = ReturnType<typeof on>

export const bodies = (messages: ReadonlyArray<SqsClient.ReceivedMessage>) => messages.map(({ Body }) => Body)

/** The first of what was received, where nothing received is the test's failure. */
export const head = (messages: ReadonlyArray<SqsClient.ReceivedMessage>, position = 0): SqsClient.ReceivedMessage => {
  const message = messages[position]
  if (message === undefined) throw new Error(`no message at ${position} of ${messages.length}`)
  return message
}

/** How a call was refused: its error's tag and message. */
export const refused = <A>(effect: Effect.Effect<A, SqsError.SqsError>) =>
  Effect.map(Effect.flip(effect), ({ _tag, message }) => `${_tag}: ${message}`)

export const emulated = <A, E>(
  queues: Readonly<Record<string, SqsEmulator.QueueOptions>>,
  run: (sqs: SqsEmulator.Service) => Effect.Effect<A, E>
) => Effect.flatMap(SqsEmulator.SqsEmulator, run).pipe(Effect.provide(SqsEmulator.layer({ queues })))

/** A test with one standard queue. */
export const standard = (name: string, run: (q: On) => Effect.Effect<unknown, unknown>) =>
  it.effect(name, () => emulated({ q: {} }, (sqs) => run(on(sqs, "q"))))
/** A test with one FIFO queue. */
export const fifo = (name: string, run: (q: On) => Effect.Effect<unknown, unknown>) =>
  it.effect(name, () => emulated({ "q.fifo": {} }, (sqs) => run(on(sqs, "q.fifo"))))

export const ipv = (text: string) => `InvalidParameterValue: ${text}`

/** The fiber still waits. */
export const still = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) =>
  Effect.map(Fiber.poll(fiber), (exit) => expect(exit).toEqual(Option.none()))
