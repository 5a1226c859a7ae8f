/** The section `log`. */
import { LOG_FORMATS } from '../../platform/log.ts';
import { choice, map } from './builder.ts';

export const log = map(
  {
    description: 'How the log is written to standard error; what is in it, the environment variable RUST_LOG says',
    hint: 'it looks like this: log: {format: json}',
    absent: 'as the environment variable VSOCK_PROXY_LOG_FORMAT says, or else text',
  },
  {
    format: choice(
      {
        description:
          "`text`: lines as AWS's proxy writes them. `json`: one object a line. `journald`: fields of the systemd journal where standard error is the journal, else text",
      },
      LOG_FORMATS,
    ),
  },
);
