/** Facts 19 to 38 of docs/sqs-facts.md: send. */
import { createHash } from "node:crypto"
import { describe, expect, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import { bodies, emulated, fifo, head, ipv, on, refused, standard } from "./Harness.js"

const text = (StringValue: string) => ({ DataType: "String", StringValue })
const limit = 1_048_576

describe("send", () => {
  standard("fact 19: an empty body is a missing parameter, and in a batch a failed entry", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.send(""))).toBe("MissingParameter: The request must contain the parameter MessageBody.")
      const { Successful, Failed } = yield* q.sendBatch({ MessageBody: "" }, { MessageBody: "a" })
      expect(Failed).toMatchObject([{ Id: "e0", Code: "EmptyValue", SenderFault: true }])
      expect(Successful.map(({ Id }) => Id)).toEqual(["e1"])
      expect(bodies(yield* q.receive())).toEqual(["a"])
    })
  )
  standard("fact 20: body and attributes together are 1 MiB at most", (q) =>
    Effect.gen(function* () {
      yield* q.send("x".repeat(limit))
      const MessageAttributes = { name: text("value") }
      const most = limit - "nameStringvalue".length
      yield* q.send("x".repeat(most), { MessageAttributes })
      expect(yield* refused(q.send("x".repeat(most + 1), { MessageAttributes }))).toBe(
        ipv("One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.")
      )
      expect(yield* refused(q.send("é".repeat(limit / 2 + 1)))).toContain("must be shorter than")
    })
  )
  standard("fact 21: so is a whole batch", (q) =>
    Effect.gen(function* () {
      const said =
        "BatchRequestTooLong: Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."
      expect(yield* refused(q.sendBatch({ MessageBody: "x".repeat(limit) }, { MessageBody: "y" }))).toBe(said)
      expect(yield* refused(q.sendBatch({ MessageBody: "x".repeat(limit + 1) }))).toBe(said)
      expect(yield* q.receive()).toEqual([])
    })
  )
  standard("fact 22: over the queue's own maximum only that entry of a batch fails", (q) =>
    Effect.gen(function* () {
      yield* q.set({ MaximumMessageSize: "1024" })
      const { Failed, Successful } = yield* q.sendBatch({ MessageBody: "x".repeat(1_025) }, { MessageBody: "a" })
      expect(Successful).toHaveLength(1)
      expect(Failed).toEqual([
        {
          Id: "e0",
          Code: "InvalidParameterValue",
          SenderFault: true,
          Message: "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."
        }
      ])
    })
  )
  it.effect("facts 23 to 26: a batch has 1 to 10 entries with distinct ids of the right form", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const { sendMessageBatch, deleteMessageBatch, changeMessageVisibilityBatch } = sqs.client
        const QueueUrl = sqs.queueUrl("q")
        const kinds = {
          SendMessageBatch: (ids: ReadonlyArray<string>) =>
            sendMessageBatch({ QueueUrl, Entries: ids.map((Id) => ({ Id, MessageBody: "a" })) }),
          DeleteMessageBatch: (ids: ReadonlyArray<string>) =>
            deleteMessageBatch({ QueueUrl, Entries: ids.map((Id) => ({ Id, ReceiptHandle: "a" })) }),
          ChangeMessageVisibilityBatch: (ids: ReadonlyArray<string>) =>
            changeMessageVisibilityBatch({
              QueueUrl,
              Entries: ids.map((Id) => ({ Id, ReceiptHandle: "a", VisibilityTimeout: 1 }))
            })
        }
        const ids = (count: number) => Array.from({ length: count }, (_, n) => `id_${n}`)
        for (const [name, call] of Object.entries(kinds)) {
          const run = (ids: ReadonlyArray<string>) => refused(Effect.asVoid(call(ids)))
          expect(yield* run([])).toBe(
            `EmptyBatchRequest: There should be at least one ${name}RequestEntry in the request.`
          )
          expect(yield* run(ids(20))).toBe(
            "TooManyEntriesInBatchRequest: Maximum number of entries per request are 10. You have sent 20."
          )
          expect(yield* run(["id_1", "id_2", "id_2", "id_1"])).toBe("BatchEntryIdsNotDistinct: Id id_2 repeated.")
          for (const id of ["", "a b", "x".repeat(81)]) {
            expect(yield* run([id])).toBe(
              "InvalidBatchEntryId: A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
            )
          }
        }
      })
    )
  )
  standard("fact 27: characters that XML 1.0 does not know are refused, in a batch with their entry", (q) =>
    Effect.gen(function* () {
      for (const bad of ["\u0000", "a\u000b", "\ud800", "\uffff", "\ufffe"]) {
        expect(yield* refused(q.send(bad))).toContain("InvalidMessageContents")
      }
      yield* q.send("\t\n\r é \ufffd \u{1f600}")
      const { Failed } = yield* q.sendBatch({ MessageBody: "\u0001" }, { MessageBody: "a" })
      expect(Failed).toMatchObject([{ Id: "e0", Code: "InvalidMessageContents", SenderFault: true }])
    })
  )
  standard("fact 28: an attribute has a value", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.send("a", { MessageAttributes: { X: text("") } }))).toBe(
        ipv("Message (user) attribute 'X' must contain a non-empty value of type 'String'.")
      )
    })
  )
  standard("fact 29: an attribute's type begins with Binary, Number or String", (q) =>
    Effect.gen(function* () {
      expect(yield* refused(q.send("a", { MessageAttributes: { X: { DataType: "Strong", StringValue: "v" } } }))).toBe(
        ipv(
          "The type of message (user) attribute 'X' is invalid. You must use only the following supported type prefixes: Binary, Number, String."
        )
      )
      yield* q.send("a", { MessageAttributes: { X: { DataType: "Number.int", StringValue: "1" } } })
    })
  )
  standard("fact 30: an attribute's name", (q) =>
    Effect.gen(function* () {
      for (const name of ["AWS.x", "Amazon.x", "aws.x", ".x", "x.", "a b", "a!", "§", "", "x".repeat(257)]) {
        expect(yield* refused(q.send("a", { MessageAttributes: { [name]: text("v") } }))).toContain(
          "InvalidParameterValue"
        )
      }
      yield* q.send("a", { MessageAttributes: { "a-b_c.1": text("v"), ["x".repeat(256)]: text("v") } })
    })
  )
  standard("fact 73: an attribute's name may have letters of any script", (q) =>
    Effect.gen(function* () {
      yield* q.send("a", { MessageAttributes: { "größe.1ø": text("v") } })
      expect(head(yield* q.receive()).MessageAttributes).toEqual({ "größe.1ø": text("v") })
    })
  )
  standard("fact 74: what XML 1.0 does not know is an IPV in an attribute; a body's error names the character", (q) =>
    Effect.gen(function* () {
      const set =
        "the set of allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]."
      expect(yield* refused(q.send("ab\u0007"))).toBe(
        `InvalidMessageContents: Invalid binary character '#x7' was found in the message body, ${set}`
      )
      expect(yield* refused(q.send("\uffff"))).toContain("'#xFFFF'")
      expect(yield* refused(q.send("a", { MessageAttributes: { X: text("a\u0008,\u000b") } }))).toBe(
        ipv(`Invalid binary character '#x8' was found in the value of message (user) attribute 'X', ${set}`)
      )
      const { Failed } = yield* q.sendBatch({ MessageAttributes: { X: text("\u0001") } })
      expect(Failed).toMatchObject([{ Code: "InvalidParameterValue", SenderFault: true }])
      const type = { DataType: "String.\u0001", StringValue: "v" }
      expect(yield* refused(q.send("a", { MessageAttributes: { X: type } }))).toContain("in the type of message")
      const bytes = { DataType: "Binary", BinaryValue: Uint8Array.of(0, 8, 255) }
      yield* q.send("a", { MessageAttributes: { X: bytes } })
    })
  )
  standard("fact 75: a Number is a decimal, between -10^128 and 10^126", (q) =>
    Effect.gen(function* () {
      const send = (StringValue: string) =>
        q.send("a", { MessageAttributes: { X: { DataType: "Number", StringValue } } })
      for (const value of [
        "x",
        "1x",
        " 1",
        "1 ",
        "0x10",
        "1_000",
        "1,5",
        "NaN",
        "Infinity",
        "-",
        ".",
        "1e",
        "1e127",
        "-1e129",
        "١"
      ]) {
        expect(yield* refused(send(value)), value).toBe(
          ipv("Can't cast the value of message (user) attribute 'X' to a number.")
        )
      }
      for (const value of ["0", "-1", "+1", "1.5", ".5", "1.", "007", "1e126", "-1E+128", "1e-400", "9".repeat(100)]) {
        yield* send(value)
      }
    })
  )
  standard("fact 76: an attribute's type has 256 characters at most", (q) =>
    Effect.gen(function* () {
      const send = (label: string) =>
        q.send("a", { MessageAttributes: { X: { DataType: `Number.${label}`, StringValue: "1" } } })
      expect(yield* refused(send("L".repeat(250)))).toContain("InvalidParameterValue")
      yield* send("L".repeat(249))
    })
  )
  standard("fact 31: a delay is 0 to 900 seconds", (q) =>
    Effect.gen(function* () {
      const said = "Value 1000 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
      expect(yield* refused(q.send("a", { DelaySeconds: 1_000 }))).toBe(ipv(said))
      const { Failed } = yield* q.sendBatch({ DelaySeconds: 1_000 })
      expect(Failed).toMatchObject([{ Code: "InvalidParameterValue", Message: said }])
      yield* q.send("a", { DelaySeconds: 900 })
      yield* TestClock.adjust("899 seconds")
      expect(yield* q.receive()).toEqual([])
      yield* TestClock.adjust("1 seconds")
      expect(bodies(yield* q.receive())).toEqual(["a"])
    })
  )
  standard("fact 32: system attributes have an MD5 of their own", (q) =>
    Effect.gen(function* () {
      const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
      const sent = yield* q.send("a", { MessageSystemAttributes: { AWSTraceHeader: text(header) } })
      expect(sent.MD5OfMessageSystemAttributes).toBe("5ae4d5d7636402d80f4eb6d213245a88")
      expect(sent.MD5OfMessageAttributes).toBeUndefined()
      expect(head(yield* q.receive()).Attributes?.["AWSTraceHeader"]).toBe(header)
    })
  )
  it.effect("the body's MD5 is of its UTF-8 bytes, the attributes' of names, types and values in order of names", () =>
    emulated({ q: {} }, (sqs) =>
      Effect.gen(function* () {
        const field = (bytes: Uint8Array | string) => {
          const length = Buffer.alloc(4)
          length.writeUInt32BE(Buffer.byteLength(bytes))
          return Buffer.concat([length, Buffer.from(bytes)])
        }
        const sent = yield* on(sqs, "q").send("héllo", {
          MessageAttributes: { b: { DataType: "Binary", BinaryValue: Uint8Array.of(1, 2, 255) }, a: text("é") }
        })
        expect(sent.MD5OfMessageBody).toBe(createHash("md5").update("héllo").digest("hex"))
        const bytes = Buffer.concat([
          ...[field("a"), field("String"), Buffer.of(1), field("é")],
          ...[field("b"), field("Binary"), Buffer.of(2), field(Uint8Array.of(1, 2, 255))]
        ])
        expect(sent.MD5OfMessageAttributes).toBe(createHash("md5").update(bytes).digest("hex"))
      })
    )
  )
  standard("fact 33: a filter of attributes narrows them and their MD5", (q) =>
    Effect.gen(function* () {
      const alone = yield* q.send("alone", { MessageAttributes: { Hello: text("1") } })
      const both = yield* q.send("both", { MessageAttributes: { Hello: text("1"), Other: text("2") } })
      const seen = (...MessageAttributeNames: ReadonlyArray<string>) =>
        Effect.map(q.receive(2, { MessageAttributeNames, VisibilityTimeout: 0 }), (messages) => {
          const message = messages.find(({ Body }) => Body === "both")
          return [Object.keys(message?.MessageAttributes ?? {}), message?.MD5OfMessageAttributes]
        })
      for (const all of ["All", "*", ".*"]) {
        expect(yield* seen(all)).toEqual([["Hello", "Other"], both.MD5OfMessageAttributes])
      }
      for (const one of ["Hello", "Hel.*"]) {
        expect(yield* seen(one)).toEqual([["Hello"], alone.MD5OfMessageAttributes])
      }
      expect(yield* seen("Nothing")).toEqual([[], undefined])
      expect(Object.keys(head(yield* q.receive(1, { MessageAttributeNames: ["No"] })))).not.toContain(
        "MessageAttributes"
      )
    })
  )
  standard("fact 34: both lists of system attributes count", (q) =>
    Effect.gen(function* () {
      yield* q.send("a")
      const message = head(
        yield* q.receive(1, { AttributeNames: ["SenderId"], MessageSystemAttributeNames: ["SentTimestamp"] })
      )
      expect(Object.keys(message.Attributes ?? {}).sort()).toEqual(["SenderId", "SentTimestamp"])
    })
  )
  standard("fact 36: timestamps are whole milliseconds, and each receive counts", (q) =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1234 millis")
      yield* q.send("a")
      yield* TestClock.adjust("1 seconds")
      yield* q.receive(1, { VisibilityTimeout: 0 })
      yield* TestClock.adjust("1 seconds")
      expect(head(yield* q.receive(1)).Attributes).toMatchObject({
        SentTimestamp: "1234",
        ApproximateFirstReceiveTimestamp: "2234",
        ApproximateReceiveCount: "2"
      })
    })
  )
  fifo("fact 36: a FIFO message also shows group, deduplication id and sequence number", (q) =>
    Effect.gen(function* () {
      yield* q.sendTo("g", "a")
      const attributes = head(yield* q.receive()).Attributes
      expect(attributes).toMatchObject({ MessageGroupId: "g", MessageDeduplicationId: "a" })
      expect(attributes?.["SequenceNumber"]).toMatch(/^\d{20}$/)
    })
  )
  standard("fact 37: a standard queue keeps and returns a group, which does not order", (q) =>
    Effect.gen(function* () {
      yield* q.send("a", { MessageGroupId: "tenant" })
      yield* q.send("b", { MessageGroupId: "tenant" })
      const first = head(yield* q.receive(1))
      expect(first.Attributes).toMatchObject({ MessageGroupId: "tenant" })
      expect(first.Attributes).not.toHaveProperty("SequenceNumber")
      expect(bodies(yield* q.receive(1))).toEqual(["b"])
    })
  )
  fifo("fact 38: a group and a deduplication id are 1 to 128 letters, digits and punctuation", (q) =>
    Effect.gen(function* () {
      const send = (MessageGroupId: string, MessageDeduplicationId: string) =>
        refused(q.send("a", { MessageGroupId, MessageDeduplicationId }))
      expect(yield* send("group 123", "d")).toBe(
        ipv(
          "Value group 123 for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )
      )
      expect(yield* send("g", "x".repeat(129))).toContain(
        "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length."
      )
    })
  )
})
