/** What Node runs of ws, in a file of its own that a browser never loads. */
export { WebSocket } from 'ws';
