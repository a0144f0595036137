'use strict';
// What a test of an application looks like: kafkajs against the broker of partlogd.js.
const { Kafka, logLevel } = require('kafkajs');
const { Broker } = require('./partlogd');

jest.setTimeout(120000);

let broker;
let kafka;

beforeEach(async () => {
  broker = await Broker.start('--topics', 'orders:1');
  kafka = new Kafka({ clientId: 'test', brokers: broker.brokers, logLevel: logLevel.NOTHING });
});
afterEach(() => broker.stop());

async function consume(groupId, n) {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topics: ['orders'], fromBeginning: true });
  const values = [];
  await new Promise((resolve, reject) => {
    consumer.run({
      eachMessage: async ({ message }) => {
        values.push(message.value.toString());
        if (values.length === n) resolve();
      },
    }).catch(reject);
  });
  await consumer.disconnect();
  return values;
}

test('what is sent is received', async () => {
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'orders', messages: [{ key: 'k', value: '1' }, { key: 'k', value: '2' }] });
  await producer.disconnect();
  expect(await consume('billing', 2)).toEqual(['1', '2']);
});

test('a leader that is not there is asked for again', async () => {
  const rule = await broker.fail({ api: 'Produce', times: 1, error: 'NOT_LEADER_OR_FOLLOWER' });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'orders', messages: [{ value: 'again' }] });
  await producer.disconnect();
  expect((await broker.control('GET', `/v1/rules/${rule.id}`)).hits).toBe(1);
  const records = await broker.control('GET', '/v1/topics/orders/partitions/0/records');
  expect(records.map((r) => r.value)).toEqual(['again']);
});
