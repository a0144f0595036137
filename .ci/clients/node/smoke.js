// kafkajs as its users drive it.
'use strict';
const fs = require('fs');
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, AclResourceTypes, AclOperationTypes, AclPermissionTypes, ResourcePatternTypes, logLevel } = require('kafkajs');
const lz4 = require('lz4js');
const xxh32 = require('lz4js/xxh32.js');
const { ZstdCodec } = require('zstd-codec');

const PATIENCE = 120_000; // bounds what hangs; nothing is measured by it
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => {
    const frame = Buffer.from(lz4.compress(encoder.buffer));
    frame[4] |= 0x20; // blocks are independent, says the only one; Kafka takes no others
    frame[6] = (xxh32.hash(0, frame, 4, 2) >>> 8) & 0xff;
    return frame;
  },
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});

const cluster = (more = {}) => new Kafka({ clientId: 'kafkajs', brokers: process.env.BOOTSTRAP.split(','), logLevel: logLevel.NOTHING, requestTimeout: 60000, ...more });
const kafka = cluster();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function check(what, got, want) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: got ${g.slice(0, 2000)}, want ${w.slice(0, 2000)}`);
  console.log('ok ', what);
}

async function until(what, done) {
  const end = Date.now() + PATIENCE;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await pause(50);
  }
  console.log('ok ', what);
}

async function produce(k, topic, messages, compression = CompressionTypes.None, conf = {}) {
  const p = k.producer(conf);
  await p.connect();
  await p.send({ topic, messages, compression, acks: -1 });
  await p.disconnect();
}

// member is a consumer that remembers what it has seen and how much it owns.
async function member(k, topic, groupId, conf = {}) {
  const m = { seen: [], owned: 0, c: k.consumer({ groupId, heartbeatInterval: 300, maxWaitTimeInMs: 100, sessionTimeout: 45000, ...conf }) };
  m.c.on(m.c.events.GROUP_JOIN, (e) => { m.owned = (e.payload.memberAssignment[topic] || []).length; });
  await m.c.connect();
  await m.c.subscribe({ topic, fromBeginning: true });
  await m.c.run({
    eachMessage: async ({ message }) => {
      const header = message.headers.i;
      m.seen.push([message.key.toString(), message.value === null ? null : message.value.toString(), header ? header.toString() : '']);
    },
  });
  return m;
}

async function read(k, topic, want, conf) {
  const m = await member(k, topic, `read-${topic}-${Date.now()}`, conf);
  await until(`${want} records of ${topic}`, () => m.seen.length >= want);
  await m.c.disconnect();
  return m.seen.sort((a, b) => (a[0] < b[0] ? -1 : 1));
}

const records = (name, n) => Array.from({ length: n }, (_, i) => [`${name}-${String(i).padStart(3, '0')}`, i % 50 === 49 ? null : i === 7 ? 'x'.repeat(100000) : `${name} ${i} `.repeat(20), String(i)]);
const messages = (rs) => rs.map(([key, value, i]) => ({ key, value, headers: { i } }));

async function main() {
  const zstd = await new Promise((done) => ZstdCodec.run((z) => done(new z.Simple())));
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
  });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic: 'events', numPartitions: 6 }, { topic: 'jobs', numPartitions: 6 }, { topic: 'payments', numPartitions: 1 }] });
  check('partitions', (await admin.fetchTopicMetadata({ topics: ['events'] })).topics[0].partitions.length, 6);
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: 'events', configEntries: [{ name: 'retention.ms', value: '123456' }] }] });
  const described = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: 'events', configNames: ['retention.ms'] }] });
  check('altered config', described.resources[0].configEntries[0].configValue, '123456');
  await admin.createPartitions({ topicPartitions: [{ topic: 'payments', count: 2 }] });
  check('brokers', (await admin.describeCluster()).brokers.length, 3);

  for (const name of ['None', 'GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
    const want = records(name, 200);
    await produce(kafka, `codec-${name}`, messages(want), CompressionTypes[name], { idempotent: name !== 'None' });
    check(`records through ${name}`, await read(kafka, `codec-${name}`, 200), want);
  }

  await produce(kafka, 'jobs', messages(records('old', 300)));
  const one = await member(kafka, 'jobs', 'workers');
  await until('one has all', () => one.owned === 6 && one.seen.length === 300);
  await one.c.stop(); // commits what it has processed
  await one.c.run({ eachMessage: async ({ message }) => { one.seen.push([message.key.toString()]); } });
  const two = await member(kafka, 'jobs', 'workers');
  await until('two share', () => one.owned === 3 && two.owned === 3);
  check('members', (await admin.describeGroups(['workers'])).groups[0].members.length, 2);
  await one.c.disconnect();
  await until('the other has all', () => two.owned === 6);
  await produce(kafka, 'jobs', messages(records('new', 100)));
  await until('the other reads on', () => two.seen.filter(([k]) => k.startsWith('new-')).length >= 100);
  await two.c.disconnect();
  await produce(kafka, 'jobs', messages(records('last', 10)));
  const three = await member(kafka, 'jobs', 'workers');
  await until('resumed', () => three.seen.length >= 10);
  check('resumed where the commit was', three.seen.every(([k]) => k.startsWith('last-')), true);
  await three.c.disconnect();
  const offsets = await admin.fetchOffsets({ groupId: 'workers', topics: ['jobs'] });
  check('committed', offsets[0].partitions.reduce((n, p) => n + Number(p.offset), 0), 410);
  check('offsets', (await admin.fetchTopicOffsets('jobs')).reduce((n, p) => n + Number(p.high), 0), 410);
  check('listed', (await admin.listGroups()).groups.some((g) => g.groupId === 'workers'), true);
  await admin.resetOffsets({ groupId: 'workers', topic: 'jobs', earliest: true });
  console.log('ok  reset');
  await admin.deleteGroups(['workers']);

  const p = kafka.producer({ transactionalId: 'till', idempotent: true, maxInFlightRequests: 1 });
  await p.connect();
  for (let n = 0; n < 3; n++) {
    const tx = await p.transaction();
    await tx.send({ topic: 'payments', messages: Array.from({ length: 20 }, (_, i) => ({ key: `${n}-${i}`, value: '10 EUR' })) });
    await tx.sendOffsets({ consumerGroupId: 'till', topics: [{ topic: 'jobs', partitions: [{ partition: 0, offset: String(10 + n) }] }] });
    await (n === 1 ? tx.abort() : tx.commit());
  }
  await p.disconnect();
  check('committed records', (await read(kafka, 'payments', 40)).filter(([k]) => k.startsWith('1-')).length, 0);
  check('all records', (await read(kafka, 'payments', 60, { readUncommitted: true })).length, 60);
  check('offset of the transaction', (await admin.fetchOffsets({ groupId: 'till', topics: ['jobs'] }))[0].partitions.find((x) => x.partition === 0).offset, '12');

  const sasl = process.env.SASL_BOOTSTRAP.split(',');
  const ways = {
    PLAIN: { brokers: sasl, sasl: { mechanism: 'plain', username: 'alice', password: 'secret' } },
    SCRAM: { brokers: sasl, sasl: { mechanism: 'scram-sha-256', username: 'scram', password: 'secret' } },
    TLS: { brokers: process.env.TLS_BOOTSTRAP.split(','), ssl: { ca: [fs.readFileSync(process.env.CA_FILE)], servername: 'localhost' } },
  };
  for (const [name, conf] of Object.entries(ways)) {
    await produce(cluster(conf), `over-${name}`, messages(records(name, 5)));
    check(`read over ${name}`, await read(cluster(conf), `over-${name}`, 5), records(name, 5));
  }
  const rule = { resourceType: AclResourceTypes.TOPIC, resourceName: 'secret', resourcePatternType: ResourcePatternTypes.LITERAL, principal: 'User:bob', host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW };
  await admin.createAcls({ acl: [rule] });
  check('rules', (await admin.describeAcls({ ...rule, principal: undefined, host: undefined })).resources.length, 1);
  await admin.fetchTopicOffsets('codec-None'); // else it does not know the leader
  await admin.deleteTopicRecords({ topic: 'codec-None', partitions: [{ partition: 0, offset: '1' }] });
  await admin.deleteTopics({ topics: ['events'] });
  check('deleted topic', (await admin.listTopics()).includes('events'), false);
  await admin.disconnect();
}

process.exitCode = 1; // of a process that ends because nothing is left to wait for
main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
