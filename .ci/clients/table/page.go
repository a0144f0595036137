package main

const head = `# Which clients talk to partlog, and how

` + "`.ci/clients/run`" + ` drives each of these clients as its users do, against a ` + "`partlogd`" + ` of three brokers: records with every codec that
the client has, a group of two with a rebalance, commit and resume, a transaction that is committed and one that is aborted, what it has of
administration, SASL PLAIN, SCRAM-SHA-256 and TLS. All of it passes; this page is written by the run, from what went over the wire.

`

const between = `
What a client cannot do is not partlog's: kafka-go has the calls of transactions in its Client only; kafkajs, aiokafka and kcat know the classic
group protocol only; kcat has no administration. SCRAM is refused to librdkafka before 2.6.1, Debian's 2.0 included: it sends its own nonce twice over
(librdkafka#4895); Apache Kafka refuses it too, since CVE-2024-56128.

Kafka's own answers, field by field, are what the scripts of the package's tests hold (testdata).

The versions of each API that each client has sent and got an answer to (over TLS nobody looked):

`
