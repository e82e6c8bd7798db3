import { findVersitygw, installVersitygw } from './versitygw.ts';

process.stdout.write(`${findVersitygw() ?? installVersitygw()}\n`);
