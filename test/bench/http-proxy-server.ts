/** The peer `http-proxy`: npm http-proxy as its documentation starts it. Arguments: listening port, target URL. */
import httpProxy from 'http-proxy'

const [port = '', target = ''] = process.argv.slice(2)
httpProxy.createProxyServer({ target }).listen(Number(port), '127.0.0.1')
console.log('listening')
