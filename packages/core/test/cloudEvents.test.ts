/** CloudEvents against the standard's own package: what a channel writes is read there, and what is written there is read here. */
import { assert, describe, it } from "@effect/vitest"
import { Channel, CloudEvents, type LeaseQueue, Message } from "@millrace/core"
import { CloudEvent, HTTP } from "cloudevents"
import { Effect, FastCheck as fc, Schema } from "effect"

const PlacedV2 = Message.make("Placed", {
  version: 2,
  schema: Schema.Struct({ id: Schema.String, data: Schema.Unknown }),
  deduplicationId: ({ id }) => id
})
const Cancelled = Message.make("Cancelled", { schema: Schema.Unknown })

const modes = ["structured", "binary"] as const

/** What JSON can say and reads back the same: minus zero is none. */
const json = fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value)))
// Their reader makes nothing of `null`, and leaves other bare values of binary mode as they stand in the text.
const structure = fc.oneof(fc.dictionary(fc.string(), json), fc.array(json))
// As AWS allows in attributes, and headers in HTTP.
const text = fc.stringMatching(/^[!-~äöü€漢🙂]([ -~äöü€漢🙂]{0,20}[!-~äöü€漢🙂])?$/u)
const source = fc.constantFrom(
  "/shop",
  "https://shop.example/orders?q=1#a",
  "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"
)
const options = fc.record(
  { source, prefix: fc.constantFrom("com.example.", "x-"), subject: text },
  { requiredKeys: ["source"] }
)

type Attributes = LeaseQueue.Message["attributes"]

const asAttributes = (headers: object): Attributes =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]): [string, LeaseQueue.Attribute] => [
      name,
      { type: "String", value: String(value) }
    ])
  )

describe("CloudEvents beside the package cloudevents", () => {
  for (const mode of modes) {
    it(`what is written in ${mode} mode is a valid event there, of the same type, id, source, subject and data`, () => {
      fc.assert(
        fc.property(options, fc.boolean(), text, structure, (options, placed, id, data) => {
          const channel = Channel.make("shop", {
            messages: [PlacedV2, Cancelled],
            envelope: CloudEvents[mode](options)
          })
          const value = placed ? PlacedV2.of({ id, data }) : Cancelled.of(data)
          const { attributes = {}, body } = Effect.runSync(Channel.encode(channel)(value))
          const event = HTTP.toEvent({ headers: { ...attributes }, body })
          assert.isTrue(event instanceof CloudEvent && event.validate())
          if (!(event instanceof CloudEvent)) return
          const { prefix = "", source, subject } = options
          assert.strictEqual(event.specversion, "1.0")
          assert.strictEqual(event.type, prefix + (placed ? "Placed.v2" : "Cancelled"))
          assert.strictEqual(event.source, source)
          assert.strictEqual(event.subject, subject)
          if (placed) assert.strictEqual(event.id, id)
          else assert.match(event.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
          assert.deepStrictEqual(event.data, placed ? { id, data } : data)
        }),
        { seed: 7, numRuns: 300 }
      )
    })

    it(`an event of theirs in ${mode} mode is read here, with its extensions, bytes and any content type of JSON`, () => {
      fc.assert(
        fc.property(
          options,
          fc.constantFrom("Placed", "Placed.v2", "Cancelled.v13", "Unknown"),
          text,
          structure,
          fc.constantFrom("application/json", "application/json; charset=utf-8", "application/vnd.shop+json"),
          fc.boolean(),
          (options, type, id, data, datacontenttype, bytes) => {
            const { prefix = "", source, subject } = options
            const event = new CloudEvent<unknown>({
              id,
              source,
              type: prefix + type,
              datacontenttype,
              partition: "7",
              data: bytes ? Buffer.from(JSON.stringify(data)) : data,
              ...(subject === undefined ? {} : { subject })
            })
            const { body, headers } = HTTP[mode](event)
            const sent = Buffer.isBuffer(body)
              ? body.toString()
              : typeof body === "string"
                ? body
                : JSON.stringify(body)
            for (const each of modes) {
              const read = CloudEvents[each](options).read(sent, { attributes: asAttributes(headers) })
              if (read._tag === "Left") throw new Error(read.left)
              const [name, version = "1"] = type.split(".v")
              assert.strictEqual(read.right.type, name)
              assert.strictEqual(read.right.version, Number(version))
              const found = read.right.data()
              assert.deepStrictEqual(found._tag === "Right" ? found.right : found.left, data)
            }
          }
        ),
        { seed: 7, numRuns: 300 }
      )
    })
  }
})
