/** Takes the bytes of each connection, throws them away and says at the end how many there were: `sink-server.ts PORT`. */
import { createServer } from 'node:net'

createServer({ allowHalfOpen: true, highWaterMark: 256 * 1024 }, (socket) => {
  let count = 0
  socket.on('data', (bytes) => {
    count += bytes.length
  })
  socket.on('end', () => socket.end(`${count}\n`))
  socket.on('error', () => socket.destroy())
}).listen(Number(process.argv[2]), () => console.log('listening'))
