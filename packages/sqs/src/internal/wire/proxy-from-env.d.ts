// The package brings no types of its own.
declare module "proxy-from-env" {
  export const getProxyForUrl: (url: string | URL) => string
}
