import { AV_LOG_QUIET } from 'node-av/constants';
import { Log } from 'node-av/lib';

// FFmpeg and its encoders write to stderr by themselves; what goes wrong comes back as a status.
Log.setLevel(AV_LOG_QUIET);
