/** Whether a Redis answers on this machine; in CI one must. */
import { connect } from "node:net"

export const answers = await new Promise<boolean>((resolve) => {
  const socket = connect({ host: "127.0.0.1", port: 6379 })
  const end = (is: boolean) => {
    socket.destroy()
    resolve(is)
  }
  socket.once("connect", () => end(true))
  socket.once("error", () => end(false))
})
if (!answers) {
  const line = "not found, and so not tested: Redis (127.0.0.1:6379)"
  if (process.env["CI"] === "true") throw new Error(line)
  console.info(line)
}
