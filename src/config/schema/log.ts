/** The section `log`. */
import { LOG_FORMATS } from '../../platform/log.ts';
import { choice, map } from './builder.ts';

export const log = map(
  {
    description: 'The form of the log on standard error; the environment variable RUST_LOG says what is logged',
    hint: 'it looks like this: log: {format: json}',
    absent: 'as the environment variable VSOCK_PROXY_LOG_FORMAT says, or else text',
  },
  {
    format: choice(
      {
        description:
          "`text`: lines as AWS's proxy writes them. `json`: one object a line. `journald`: fields of the systemd journal if standard error is the journal, otherwise text",
      },
      LOG_FORMATS,
    ),
  },
);
