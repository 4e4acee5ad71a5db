/**
 * Where calls go, and as whom: the AWS SDK finds it, from the options, the environment, the profile and its rules for
 * partitions, FIPS and dual stack. It is asked by a call that is never sent: its request is looked at in place of a
 * request handler.
 */
import { ListQueuesCommand, type SQSClient } from "@aws-sdk/client-sqs"

export interface Route {
  readonly protocol: string
  readonly hostname: string
  readonly port: number | undefined
  readonly path: string
  /** The region that calls are signed for. */
  readonly region: string
  /** Name and version of the SDK and of what it runs on, and the application's where it has told one. */
  readonly userAgent: string
}

/** What of a request we look at. */
interface Request {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | undefined
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** The request handler of a client that sends nothing: it notes what it is given, and answers that there are no queues. */
export class Scout {
  #seen: Request | undefined
  #route: Promise<Route> | undefined
  readonly metadata = { handlerProtocol: "http/1.1" }

  async handle(request: Request) {
    this.#seen = request
    const headers = { "content-type": "application/x-amz-json-1.0" }
    return { response: { statusCode: 200, headers, body: Buffer.from("{}") } }
  }

  destroy(): void {}
  updateHttpClientConfig(): void {}
  httpHandlerConfigs() {
    return {}
  }

  /**
   * The route of the client that has this handler; found once. Fails as a call of the SDK's does where there is no region
   * or there are no credentials, and looks again then.
   */
  route(client: SQSClient): Promise<Route> {
    this.#route ??= this.#find(client).catch((cause: unknown) => {
      this.#route = undefined
      throw cause
    })
    return this.#route
  }

  async #find(client: SQSClient): Promise<Route> {
    await client.send(new ListQueuesCommand({}))
    const request = this.#seen
    if (request === undefined) throw new Error("the AWS SDK has made no request")
    const { headers, hostname, path, port, protocol } = request
    // Credential=<key>/<day>/<region>/sqs/aws4_request
    const scope = /Credential=[^/]+\/\d+\/([^/]+)\//.exec(headers["authorization"] ?? "")
    return {
      protocol,
      hostname,
      port,
      path,
      region: scope?.[1] ?? (await client.config.region()),
      userAgent: headers["user-agent"] ?? ""
    }
  }
}
