import * as Context from "effect/Context"
import type { Service } from "./service.js"

/** Apart from its layers: who uses a client that another has made does not load the AWS SDK. */
export class SqsClient extends Context.Tag("@millrace/sqs/SqsClient")<SqsClient, Service>() {}
