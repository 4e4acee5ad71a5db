/** Facts 92 to 98 of docs/sqs-facts.md: the Query protocol as forms are written by hand. */
import { describe, expect, it } from "@effect/vitest"
import { SqsEmulator, SqsHttp } from "@millrace/sqs/emulator"
import { Effect } from "effect"
import { served } from "./Clients.js"

interface Answer {
  readonly status: number
  readonly type: string | null
  readonly text: string
}
interface Door {
  readonly sqs: SqsEmulator.Service
  readonly endpoint: string
  /** A request of a queue's URL, or of the endpoint where there is no queue. */
  readonly get: (queue: string, query: string, headers?: Record<string, string>) => Effect.Effect<Answer>
  readonly post: (queue: string, form: string | Uint8Array, headers?: Record<string, string>) => Effect.Effect<Answer>
}

const query = (
  name: string,
  queues: Readonly<Record<string, SqsEmulator.QueueOptions>>,
  run: (door: Door) => Effect.Effect<unknown, unknown>
) =>
  it.live(name, () =>
    Effect.gen(function* () {
      const sqs = yield* SqsEmulator.SqsEmulator
      const { endpoint } = yield* SqsHttp.SqsHttp
      const call = (path: string, init: RequestInit) =>
        Effect.promise(async () => {
          const response = await fetch(endpoint + path, init)
          const type = response.headers.get("content-type")
          return { status: response.status, type, text: await response.text() }
        })
      const path = (queue: string) => (queue === "" ? "/" : `/000000000000/${queue}`)
      yield* run({
        sqs,
        endpoint,
        get: (queue, query, headers = {}) => call(`${path(queue)}?${query}`, { headers }),
        post: (queue, body, headers = {}) =>
          call(path(queue), {
            method: "POST",
            body,
            headers: { "content-type": "application/x-www-form-urlencoded", ...headers }
          })
      })
    }).pipe(Effect.provide(served({ queues })))
  )

const id = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
const without = ({ text }: Answer) => text.replaceAll(new RegExp(id, "g"), "ID")

describe("the Query protocol", () => {
  query("fact 92: a form in the URL or in the body, and XML back", { q: {} }, ({ get, post }) =>
    Effect.gen(function* () {
      const answer = yield* get("q", "Action=GetQueueAttributes&AttributeName.1=QueueArn&Version=2012-11-05")
      expect(answer).toMatchObject({ status: 200, type: "text/xml" })
      expect(without(answer)).toBe(
        '<?xml version="1.0"?><GetQueueAttributesResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">' +
          "<GetQueueAttributesResult><Attribute><Name>QueueArn</Name>" +
          "<Value>arn:aws:sqs:us-east-1:000000000000:q</Value></Attribute></GetQueueAttributesResult>" +
          "<ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></GetQueueAttributesResponse>"
      )
      const sent = yield* post("q", "Action=SendMessage&MessageBody=a+%26%20b")
      expect(sent.text).toContain("<MD5OfMessageBody>")
      const received = yield* post("q", "Action=ReceiveMessage")
      expect(received.text).toContain("<Body>a &amp; b</Body>")
      expect((yield* get("q", "Action=ReceiveMessage")).text).toContain("<ReceiveMessageResult/>")
      expect(without(yield* get("q", "Action=PurgeQueue"))).toContain('2012-11-05/"><ResponseMetadata>')
    })
  )
  query("lists are in the order of their numbers, and one alone needs none", { q: {} }, ({ post, sqs }) =>
    Effect.gen(function* () {
      const entry = (n: number, body: string) =>
        `SendMessageBatchRequestEntry.${n}.Id=e${n}&SendMessageBatchRequestEntry.${n}.MessageBody=${body}`
      const batch = [entry(10, "c"), entry(2, "b"), entry(1, "a")].join("&")
      const sent = yield* post("q", `Action=SendMessageBatch&${batch}`)
      expect(sent.text.match(/<Id>\w+<\/Id>/g)).toEqual(["<Id>e1</Id>", "<Id>e2</Id>", "<Id>e10</Id>"])
      const one = yield* post("q", "Action=SetQueueAttributes&Attribute.Name=VisibilityTimeout&Attribute.Value=7")
      expect(one.status).toBe(200)
      const asked = yield* post("q", "Action=GetQueueAttributes&AttributeName=VisibilityTimeout")
      expect(asked.text).toContain("<Value>7</Value>")
      // As clients write lists that are empty.
      const none = yield* post(
        "q",
        "Action=ReceiveMessage&AttributeNames=&MessageAttributeName=&MaxNumberOfMessages=10"
      )
      expect(none.text.match(/<Body>\w<\/Body>/g)).toHaveLength(3)
      expect(yield* sqs.snapshot("q")).toMatchObject({ sent: 3, inFlight: 3 })
      expect((yield* post("q", "Action=SendMessageBatch&Entries=")).text).toContain("EmptyBatchRequest</Code>")
      expect((yield* post("q", "Action=UntagQueue&TagKeys=")).text).toContain("Tag keys must be")
    })
  )
  query("fact 93: an error is XML too, with its request's id", { q: {} }, ({ get, post }) =>
    Effect.gen(function* () {
      const said = (type: string, code: string, message: string) =>
        '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error>' +
        `<Type>${type}</Type><Code>${code}</Code><Message>${message}</Message><Detail/></Error>` +
        "<RequestId>ID</RequestId></ErrorResponse>"
      const gone = yield* get("none", "Action=ReceiveMessage")
      expect(gone).toMatchObject({ status: 400, type: "text/xml" })
      expect(without(gone)).toBe(
        said(
          "Sender",
          "AWS.SimpleQueueService.NonExistentQueue",
          "The specified queue does not exist for this wsdl version."
        )
      )
      expect(without(yield* get("q", "Action=SendMessage"))).toBe(
        said("Sender", "MissingParameter", "The request must contain the parameter MessageBody.")
      )
      const garbage = yield* post("q", "Action=DeleteMessage&ReceiptHandle=%3C%01%3E")
      expect(garbage.status).toBe(404)
      // A character that XML cannot write does not make the answer illegible.
      expect(garbage.text).toContain(
        "The input receipt handle &quot;&lt;\ufffd&gt;&quot; is not a valid receipt handle."
      )
    })
  )
  query("fact 94: an action that is none, or not a queue's, and no action at all", { q: {} }, ({ get, post }) =>
    Effect.gen(function* () {
      for (const [queue, action] of [
        ["q", "FooBar"],
        ["", "constructor"],
        ["q", "CreateQueue"],
        ["q", "ListQueues"]
      ] as const) {
        const answer = yield* get(queue, `Action=${action}&QueueName=a`)
        expect(answer.status).toBe(400)
        expect(answer.text).toContain("<Type>Sender</Type><Code>InvalidAction</Code>")
        expect(answer.text).toContain(`<Message>The action ${action} is not valid for this endpoint.</Message>`)
      }
      expect((yield* get("", "Action=ListQueues")).status).toBe(200)
      const nothing = { status: 404, type: "text/xml", text: "<UnknownOperationException/>" }
      expect(yield* get("q", "")).toEqual(nothing)
      expect(yield* get("q", "", { accept: "application/json" })).toEqual(nothing)
      expect(yield* post("", "")).toEqual(nothing)
      expect(yield* post("", "Action.1=ListQueues")).toEqual(nothing)
    })
  )
  query("fact 95: in JSON where that is asked for", { q: { tags: { a: "1" } } }, ({ endpoint, get, sqs }) =>
    Effect.gen(function* () {
      const json = (queue: string, query: string) =>
        Effect.map(get(queue, query, { accept: "application/json" }), ({ status, text, type }) => {
          expect(type).toBe("application/json")
          return { status, json: JSON.parse(text) as unknown }
        })
      const ResponseMetadata = { RequestId: expect.stringMatching(new RegExp(`^${id}$`)) }
      yield* sqs.send("q", ['"&quot;\r'])
      const Action = "Action=ReceiveMessage&AttributeName.1=ApproximateReceiveCount"
      expect(yield* json("q", Action)).toMatchObject({
        status: 200,
        json: {
          ReceiveMessageResponse: {
            ReceiveMessageResult: {
              messages: [{ Body: '"&quot;\r', Attributes: [{ Name: "ApproximateReceiveCount", Value: "1" }] }]
            },
            ResponseMetadata
          }
        }
      })
      expect((yield* json("", "Action=ListQueues")).json).toEqual({
        ListQueuesResponse: {
          ListQueuesResult: { queueUrls: [`${endpoint}/000000000000/q`] },
          ResponseMetadata
        }
      })
      expect((yield* json("q", "Action=ListQueueTags")).json).toMatchObject({
        ListQueueTagsResponse: { ListQueueTagsResult: { Tags: [{ Key: "a", Value: "1" }] } }
      })
      expect((yield* json("q", "Action=PurgeQueue")).json).toEqual({ PurgeQueueResponse: { ResponseMetadata } })
      expect(yield* json("q", "Action=ListQueues")).toMatchObject({
        status: 400,
        json: { Error: { Code: "InvalidAction", Message: "The action ListQueues is not valid for this endpoint." } }
      })
    })
  )
  query("fact 96: of both names of the same list the older one counts", { q: {} }, ({ get, sqs }) =>
    Effect.gen(function* () {
      yield* sqs.send("q", ["a"])
      const receive = "Action=ReceiveMessage&VisibilityTimeout=0&MessageSystemAttributeName.1=All"
      const both = yield* get("q", `${receive}&AttributeName.1=SenderId`)
      expect(both.text.match(/<Attribute><Name>\w+/g)).toEqual(["<Attribute><Name>SenderId"])
      expect((yield* get("q", receive)).text.match(/<Attribute><Name>\w+/g)).toHaveLength(4)
    })
  )
  query(
    "fact 97: a queue's URL as the request's path stands for QueueUrl, which counts where it is given",
    { a: {}, b: {} },
    (door) =>
      Effect.gen(function* () {
        const { endpoint, get, post } = door
        const arn = "Action=GetQueueAttributes&AttributeName.1=QueueArn"
        expect((yield* get("a", arn)).text).toContain(":a</Value>")
        expect((yield* get("a", `${arn}&QueueUrl=${encodeURIComponent(`${endpoint}/000000000000/b`)}`)).text).toContain(
          ":b</Value>"
        )
        const url = yield* get("a", "Action=GetQueueUrl&QueueName=b&QueueOwnerAWSAccountId=000000000000")
        expect(url.text).toContain(`<QueueUrl>${endpoint}/000000000000/b</QueueUrl>`)
        const other = yield* post("", "Action=PurgeQueue&QueueUrl=http://sqs.eu-west-1.amazonaws.com/000000000000/a")
        expect(other.status).toBe(404)
        expect(other.text).toContain("<Code>InvalidAddress</Code>")
      })
  )
  query("fact 98: a carriage return survives XML", { q: {} }, ({ get, post, sqs }) =>
    Effect.gen(function* () {
      yield* post("q", "Action=SendMessage&MessageBody=a%0D%0Ab")
      expect((yield* sqs.messages("q")).map(({ body }) => body)).toEqual(["a\r\nb"])
      expect((yield* get("q", "Action=ReceiveMessage")).text).toContain("<Body>a&#xD;\nb</Body>")
    })
  )
  query("names that every object has are names like others", { q: {} }, ({ get, post, sqs }) =>
    Effect.gen(function* () {
      for (const name of ["__proto__", "constructor"]) {
        const attribute = `MessageAttribute.1.Name=${name}&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=v`
        yield* post("q", `Action=SendMessage&MessageBody=a&${attribute}&${name}=x&${name}.${name}.1=y`)
        const received = yield* get("q", `Action=ReceiveMessage&MessageAttributeName.1=${name}`)
        expect(received.text).toContain(`<MessageAttribute><Name>${name}</Name><Value>`)
      }
      expect(yield* sqs.snapshot("q")).toMatchObject({ sent: 2 })
    })
  )
  query("a form that cannot be read is refused, and nothing is done", { q: {} }, ({ get, post, sqs }) =>
    Effect.gen(function* () {
      for (const form of [
        "Action=SendMessage&MessageBody=%FF",
        "Action=SendMessage&MessageBody=%ED%A0%80",
        "Action=SendMessage&MessageBody=%zz",
        "Action=SendMessage&MessageBody=a&DelaySeconds=1.5",
        "Action=SendMessage&MessageBody=a&DelaySeconds=many",
        "Action=SendMessage&MessageBody.1=a",
        "Action=SendMessage&MessageBody=a&MessageAttribute.1=x",
        "Action=SendMessage&MessageBody=a&MessageAttribute.1.Name=x&MessageAttribute.1.Value.DataType=Binary&MessageAttribute.1.Value.BinaryValue=%21"
      ]) {
        const answer = yield* post("q", form)
        expect(answer.status, form).toBe(400)
        expect(answer.text, form).toContain("<Code>MalformedInput</Code>")
      }
      const bytes = Buffer.concat([Buffer.from("Action=SendMessage&MessageBody="), Buffer.of(0xc3, 0x28)])
      expect((yield* post("q", bytes)).text).toContain("is not text in UTF-8")
      expect((yield* get("%ff", "Action=PurgeQueue")).status).toBe(400)
      expect(yield* sqs.snapshot("q")).toMatchObject({ sent: 0 })
    })
  )
})
