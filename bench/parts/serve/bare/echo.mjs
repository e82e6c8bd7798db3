// Answers every `up` bytes with `down` bytes, on a port that it prints.
import { createServer } from 'node:net';

const [up, down] = process.argv.slice(2).map(Number);
const answer = Buffer.alloc(down);
const server = createServer((socket) => {
  let got = 0;
  socket.setNoDelay(true);
  socket.on('error', () => process.exit());
  socket.on('data', (bytes) => {
    for (got += bytes.length; got >= up; got -= up) socket.write(answer);
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
process.on('disconnect', () => process.exit());
