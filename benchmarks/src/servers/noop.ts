/**
 * A no-op SQS on `node:http`, or over TLS where the process was told of a certificate: there is always a full batch to receive, and every delete succeeds. Its answers are as
 * SQS writes them, with the MD5s that the SDK checks.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import { createServer as createSecureServer } from "node:https"
import * as Effect from "effect/Effect"
import { bodies } from "../bodies.js"
import * as Certificate from "../certificate.js"
import { serve } from "./child.js"

const latency = Number(process.argv[2] ?? 0)

let calls = 0
let deleted = 0
let received = 0

const md5 = (text: string) => createHash("md5").update(text).digest("hex")
const md5s = new Map(bodies.map((body) => [body, md5(body)]))
const md5Of = (body: string) => md5s.get(body) ?? md5(body)

/** All of a message but its id and handle, as JSON, with and without system attributes. */
const tails = bodies.map((body) => {
  const plain = `"Body":${JSON.stringify(body)},"MD5OfBody":"${md5Of(body)}"`
  const attributes = {
    SenderId: "AIDAEXAMPLE",
    SentTimestamp: String(Date.now()),
    ApproximateReceiveCount: "1",
    ApproximateFirstReceiveTimestamp: String(Date.now())
  }
  return { plain: `${plain}}`, attributed: `${plain},"Attributes":${JSON.stringify(attributes)}}` }
})

// As long as those of SQS.
const handleEnd = "A".repeat(380)

interface Request {
  readonly MaxNumberOfMessages?: number
  readonly AttributeNames?: ReadonlyArray<string>
  readonly MessageSystemAttributeNames?: ReadonlyArray<string>
  readonly Entries?: ReadonlyArray<{ readonly Id: string; readonly MessageBody?: string }>
  readonly QueueUrl?: string
}

const receive = ({ AttributeNames = [], MaxNumberOfMessages = 1, MessageSystemAttributeNames = [] }: Request) => {
  const attributed = AttributeNames.length + MessageSystemAttributeNames.length > 0
  let messages = ""
  for (let i = 0; i < MaxNumberOfMessages; i++) {
    const tail = tails[received % tails.length]
    const id = `00000000-0000-4000-8000-${String(++received).padStart(12, "0")}`
    messages += `${i === 0 ? "" : ","}{"MessageId":"${id}","ReceiptHandle":"${id}${handleEnd}",${attributed ? tail?.attributed : tail?.plain}`
  }
  return `{"Messages":[${messages}]}`
}

const successful = (entries: ReadonlyArray<string>) => `{"Successful":[${entries.join(",")}],"Failed":[]}`

const answer = (operation: string, request: Request): string => {
  const entries = request.Entries ?? []
  switch (operation) {
    case "ReceiveMessage":
      return receive(request)
    case "DeleteMessageBatch":
      deleted += entries.length
      return successful(entries.map(({ Id }) => `{"Id":"${Id}"}`))
    case "DeleteMessage":
      deleted += 1
      return "{}"
    case "SendMessageBatch":
      return successful(
        entries.map(
          ({ Id, MessageBody = "" }) => `{"Id":"${Id}","MessageId":"${Id}","MD5OfMessageBody":"${md5Of(MessageBody)}"}`
        )
      )
    case "ChangeMessageVisibilityBatch":
      return successful(entries.map(({ Id }) => `{"Id":"${Id}"}`))
    case "GetQueueAttributes":
      return '{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:000000000000:backlog","VisibilityTimeout":"300"}}'
    default:
      return "{}"
  }
}

const listener: RequestListener = (request, response) => {
  const chunks: Array<Buffer> = []
  const operation = String(request.headers["x-amz-target"]).replace("AmazonSQS.", "")
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const reply = () => {
      calls++
      const [first] = chunks
      const body = first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks)
      response.writeHead(200, { "content-type": "application/x-amz-json-1.0" })
      response.end(answer(operation, JSON.parse(body.toString())))
    }
    if (latency > 0) setTimeout(reply, latency)
    else reply()
  })
}

const certificate = Certificate.ofThisProcess()
const settings = { keepAliveTimeout: 60_000 }
const server =
  certificate === undefined
    ? createServer(settings, listener)
    : createSecureServer(
        { ...settings, cert: readFileSync(certificate.certFile), key: readFileSync(certificate.keyFile) },
        listener
      )

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const endpoint = certificate === undefined ? `http://127.0.0.1:${port}` : `https://localhost:${port}`
  serve(
    { endpoint, queueUrl: `${endpoint}/000000000000/backlog` },
    Effect.sync(() => ({ calls, deleted }))
  )
})
