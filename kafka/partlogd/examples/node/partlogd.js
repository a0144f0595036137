'use strict';
// A broker for tests: runs partlogd. Nothing but Node's own modules (18 or newer) is needed.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

class Broker {
  // start runs partlogd and resolves when it takes connections.
  static async start(...args) {
    const b = new Broker();
    b.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'partlogd-'));
    const ready = path.join(b.dir, 'ready.properties');
    b.process = spawn(process.env.PARTLOGD || 'partlogd', [
      '--quiet', '--override', 'listeners=PLAINTEXT://127.0.0.1:0', '--override', 'group.initial.rebalance.delay.ms=0',
      '--control', '127.0.0.1:0', '--ready-file', ready, ...args,
    ], { stdio: ['ignore', 'pipe', 'inherit'] });
    b.ended = new Promise((resolve, reject) => {
      b.process.once('error', reject);
      b.process.once('exit', resolve);
    });
    b.ended.catch(() => {}); // told below
    await Promise.race([
      new Promise((resolve) => {
        let text = '';
        b.process.stdout.on('data', (chunk) => {
          text += chunk;
          if (text.includes('partlogd ready\n')) resolve();
        });
      }),
      b.ended.then((code) => { throw new Error(`partlogd did not start: exit status ${code}`); }),
    ]);
    const facts = Object.fromEntries(fs.readFileSync(ready, 'utf8').trim().split('\n').map((line) => {
      const i = line.indexOf('=');
      return [line.slice(0, i), line.slice(i + 1)];
    }));
    b.brokers = facts['bootstrap.servers'].split(',');
    b.url = facts.control;
    return b;
  }

  // control sends a request to the control endpoint: control('POST', '/v1/clock/advance', { by: '30s' }).
  async control(method, where, body) {
    const answer = await fetch(this.url + where, {
      method, body: body === undefined ? undefined : JSON.stringify(body), headers: { 'Content-Type': 'application/json' },
    });
    const value = await answer.json();
    if (!answer.ok) throw new Error(value.error);
    return value;
  }

  // fail has requests fail: fail({ api: 'Produce', times: 1, error: 'NOT_ENOUGH_REPLICAS' }). It resolves to the rule.
  fail(rule) { return this.control('POST', '/v1/rules', rule); }

  async stop() {
    this.process.kill('SIGTERM');
    const code = await this.ended;
    fs.rmSync(this.dir, { recursive: true });
    if (code !== 0) throw new Error(`partlogd ended with status ${code}`);
  }
}

module.exports = { Broker };
