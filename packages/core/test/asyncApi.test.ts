/**
 * The AsyncAPI document of channels: what a channel writes fits the schemas that stand in it, each of its references leads
 * somewhere, and what contradicts itself is refused. AsyncAPI's own parser is asked in `packages/sqs`.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { AsyncApi, Channel, CloudEvents, Envelope, Message } from "@millrace/core"
import { Ajv } from "ajv"
import { Arbitrary, DateTime, Effect, FastCheck, Option, Schema } from "effect"

class Line extends Schema.Class<Line>("Line of an order/v1")({ sku: Schema.NonEmptyString, count: Schema.Int }) {}

interface Part {
  readonly name: string
  readonly parts: ReadonlyArray<Part>
}
const Part: Schema.Schema<Part> = Schema.Struct({
  name: Schema.String,
  parts: Schema.Array(Schema.suspend(() => Part)).pipe(Schema.maxItems(2))
}).annotations({ identifier: "Part" })

const PlacedV1 = Message.make("Placed", { schema: Schema.Struct({ sku: Schema.NonEmptyString }) })
const Order = Schema.Struct({
  lines: Schema.NonEmptyArray(Line),
  at: Schema.compose(Schema.Date, Schema.DateFromSelf.pipe(Schema.validDate())),
  note: Schema.optional(Schema.String),
  coupon: Schema.optionalWith(Schema.String, { as: "Option" }),
  size: Schema.Literal("s", "m", 7),
  extra: Schema.Record({ key: Schema.String, value: Schema.Union(Schema.Number, Schema.Null) }),
  whatever: Schema.Unknown.annotations({ arbitrary: () => (fc) => fc.integer() }),
  anything: Schema.Unknown.annotations({ arbitrary: () => (fc) => fc.string() })
})
const least = { at: DateTime.toDateUtc(DateTime.unsafeMake(0)), coupon: Option.none(), size: "s", extra: {} } as const
const Placed = Message.make("Placed", { version: 2, description: "A customer has ordered.", schema: Order }).pipe(
  Message.lift(PlacedV1, ({ sku }): typeof Order.Type => ({
    ...least,
    lines: [new Line({ sku, count: 1 })],
    whatever: 0,
    anything: ""
  }))
)
const Assembled = Message.make("Assembled", { schema: Part })
const messages = [Placed, Assembled]

const envelopes: Readonly<Record<string, Envelope.Envelope>> = {
  attributes: Envelope.attributes(),
  fields: Envelope.fields(),
  "fields with the data apart": Envelope.fields({ type: "kind", data: "payload" }),
  "CloudEvents, structured": CloudEvents.structured({ source: "/shop", prefix: "com.example." }),
  "CloudEvents, binary": CloudEvents.binary({ source: "/shop", subject: "orders" })
}

const info = { title: "Shop", version: "1.0.0" }

/** The references of a document that lead nowhere. */
const dangling = (document: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  const at = (reference: string) =>
    reference
      .slice(2)
      .split("/")
      .reduce<unknown>((part, name) => (part as Record<string, unknown> | undefined)?.[name], document)
  JSON.stringify(document, (keyword, value: unknown) => {
    if (keyword === "$ref" && at(String(value)) === undefined) found.push(String(value))
    return value
  })
  return found
}

describe("an AsyncAPI document", () => {
  for (const [name, envelope] of Object.entries(envelopes)) {
    it(`has schemas that every message fits, as it is written: ${name}`, () => {
      const shop = Channel.make("shop", { messages, envelope })
      const document = AsyncApi.document([{ action: "send", channel: shop }], info)
      expect(dangling(document)).toEqual([])
      const ajv = new Ajv({ strict: false, validateFormats: false }).addSchema(document, "document")
      const encode = Channel.encode(shop)
      for (const [message, key] of [
        [Placed, "Placed.v2"],
        [Assembled, "Assembled"]
      ] as const) {
        const part = `document#/channels/shop/messages/${key}`
        const fits = ajv.compile({ $ref: `${part}/payload` })
        const described = document.channels["shop"]?.messages[key]
        const fitsHeaders = described?.headers === undefined ? undefined : ajv.compile({ $ref: `${part}/headers` })
        const write = (body: unknown) => Effect.runSync(encode({ _tag: message.name, body } as never))
        FastCheck.assert(
          FastCheck.property(
            Arbitrary.make(Schema.Struct({ body: message.schema as Schema.Schema<unknown> })),
            (one) => {
              const { attributes, body } = write(one.body)
              assert.isTrue(fits(JSON.parse(body)), JSON.stringify(fits.errors))
              if (fitsHeaders !== undefined) assert.isTrue(fitsHeaders(attributes), JSON.stringify(fitsHeaders.errors))
            }
          ),
          { numRuns: 60, seed: 1 }
        )
        // They say something: another message's type, or data of another kind, do not fit.
        assert.isFalse(fits({}) && fitsHeaders?.({}) !== false)
      }
    })
  }

  it("names what a program receives in every version that it reads, and what it sends in the newest", () => {
    const shop = Channel.make("shop", { messages, description: "Orders" })
    const mails = Channel.make("mails", { messages: [Message.make("Mail", { schema: Schema.String })] })
    const document = AsyncApi.document(
      [
        { action: "receive", channel: shop, queue: "orders.fifo", bindings: { sqs: { queue: {} } } },
        { action: "send", channel: shop, queue: "orders.fifo" },
        { action: "send", channel: mails }
      ],
      info
    )
    expect(document.info).toEqual(info)
    expect(document.channels["shop"]).toMatchObject({
      address: "orders.fifo",
      description: "Orders",
      bindings: { sqs: { queue: {} } }
    })
    expect(document.channels["mails"]).toMatchObject({ address: "mails" })
    expect(Object.keys(document.channels["shop"]?.messages ?? {})).toEqual(["Placed.v2", "Placed", "Assembled"])
    expect(document.channels["shop"]?.messages["Placed.v2"]).toMatchObject({
      name: "Placed",
      description: "A customer has ordered.",
      contentType: "application/json",
      headers: { properties: { type: { const: "Placed" }, version: { const: "2" } } }
    })
    expect(document.operations).toEqual({
      "receive.shop": {
        action: "receive",
        channel: { $ref: "#/channels/shop" },
        messages: ["Placed.v2", "Placed", "Assembled"].map((key) => ({ $ref: `#/channels/shop/messages/${key}` }))
      },
      "send.shop": {
        action: "send",
        channel: { $ref: "#/channels/shop" },
        messages: ["Placed.v2", "Assembled"].map((key) => ({ $ref: `#/channels/shop/messages/${key}` }))
      },
      "send.mails": {
        action: "send",
        channel: { $ref: "#/channels/mails" },
        messages: [{ $ref: "#/channels/mails/messages/Mail" }]
      }
    })
  })

  it("keeps two Schemas of one name apart, and shares one that is the same", () => {
    const named = <A, I>(schema: Schema.Schema<A, I>) => Schema.Struct({ it: schema.annotations({ identifier: "It" }) })
    const one = Message.make("One", { schema: named(Schema.String) })
    const two = Message.make("Two", { schema: named(Schema.Number) })
    const three = Message.make("Three", { schema: named(Schema.String) })
    const channel = Channel.make("c", { messages: [one, two, three] })
    const document = AsyncApi.document([{ action: "send", channel }], info)
    expect(document.components.schemas).toMatchObject({ It: { type: "string" }, "Two.It": { type: "number" } })
    expect(Object.keys(document.components.schemas)).toEqual(["It", "Two.It"])
    expect(dangling(document)).toEqual([])
  })

  it("is refused where it contradicts itself, and where a Schema is of no JSON", () => {
    const shop = Channel.make("shop", { messages })
    const other = Channel.make("shop", { messages: [Assembled] })
    const more = Channel.make("more", { messages: [Assembled] })
    const refused = (...operations: ReadonlyArray<unknown>) => {
      try {
        AsyncApi.document(operations as ReadonlyArray<AsyncApi.Operation>, info)
      } catch (error) {
        return (error as Error).message
      }
      return "nothing"
    }
    const receive = { action: "receive", channel: shop, queue: "orders" }
    expect(refused(receive, { action: "send", channel: other, queue: "orders" })).toContain("two of the name shop")
    expect(refused(receive, { action: "send", channel: shop })).toContain("a channel for each queue")
    expect(refused(receive, receive)).toContain("receive twice")
    expect(refused(receive, { ...receive, channel: more })).toContain("carries shop and more")
    expect(refused({ ...receive, action: "read" })).toContain('"send" or "receive"')
    expect(refused({ ...receive, channel: Placed })).toContain("what Channel.make gives")
    expect(refused({ ...receive, adress: "orders" })).toContain("is not an option")
    expect(refused({ ...receive, bindings: { sqs: "orders" } })).toContain("bindings.sqs")
    const bound = (maximum: number) => ({ bindings: { sqs: { queue: { maximum } } } })
    const send = { ...receive, action: "send" }
    expect(refused({ ...receive, ...bound(1) }, { ...send, ...bound(2) })).toContain("bindings of shop are two")
    expect(refused({ ...receive, ...bound(1) }, { ...send, ...bound(1) })).toBe("nothing")
    expect(refused({ ...receive, ...bound(1) }, send)).toBe("nothing")
    const date = Channel.make("dates", { messages: [Message.make("At", { schema: Schema.DateFromSelf })] })
    expect(refused({ action: "send", channel: date })).toContain("schema of At has no JSON Schema; annotate it")
  })
})
