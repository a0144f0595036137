// Package kafkatest gives tests a Kafka cluster that starts in a fraction of a millisecond, runs in the test's process, and
// fails on command. It is no imitation: brokers, coordinators and storage are those of package kafka and package partition,
// on a disk in memory. Any Kafka client attaches to it, in this process or in another one.
//
//	func TestBilling(t *testing.T) {
//		c := kafkatest.New(t, kafkatest.Topic("orders", 3)) // ended by the test's Cleanup
//		client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
//		...
//		lost := c.Inject(kafkatest.Rule{API: "Produce", Times: 1, Apply: true, Close: true}) // written, but nobody says so
//		...                                                    // the client sends it again
//		err = lost.Wait(ctx, 1)                                // it has happened
//		c.Clock().Advance(time.Hour)                           // sessions, transactions, retention: now
//		err = c.Crash(kafkatest.Kill)                          // and the client goes on
//		records, err := c.Records("orders", 0)                 // each once
//	}
//
// # Clusters
//
// New makes a Cluster with the options given: Brokers, Racks, Topic, Property with Kafka's names, User for SASL, TLS with a
// CA of its own, Seed. Start does the same for programs that are no Go test. Brokers listen on loopback ports of their own,
// so hundreds of clusters run side by side. With MemoryNetwork there are no sockets, clients dial by Cluster.Dialer, and all
// of it, client included, runs in the simulated time of testing/synctest.
//
// # Requests that fail
//
// A Rule says which requests it is about (API, version, client id, principal, broker, topic, partition, group,
// transactional id, the nth to the mth, a probability drawn from the seed, or any function) and what happens to them: an
// error code in the right places of that API's answer, a delay, no answer, a closed connection, an answer that is cut,
// corrupt or slow, a crash. Apply decides whether the request takes effect. Rules are counted (Armed.Hits), awaited
// (Armed.Wait), removed, and without an action they only observe. They are plain values, also as JSON.
//
// # Time
//
// A cluster has one Clock, for the store, the coordinators and the listeners. It shows the real time plus what Advance has
// added, so clients in other processes work as with any broker, and a test lets an hour pass when it wants to. With Frozen it
// stands still otherwise. The clients' own clocks are not the cluster's: the timestamps that they give to records, and their
// heartbeats, go by real time. So an Advance by more than a session expires the living too; RemoveMember expires one.
//
// # Crashes
//
// Crash ends the process of all brokers, at that moment or at a chosen request (Rule.Crash), and opens the store again on
// what the disk has: all that was written (Kill), what had been synced and some of the rest (PowerLoss, on a FaultyDisk), or
// half of the last write (TornWrite). Ports stay, clients connect again. FillDisk, FailSync and InjectDisk make the disk fail
// below a running store. StopBroker, StartBroker, MoveLeader, MoveGroup, SetISR, ForceRebalance are what happens to a cluster
// on an ordinary day.
//
// # Copies
//
// Snapshot keeps a prepared store, and Snapshot.Fork opens as many copies of it as there are tests, each in a few milliseconds
// at most even if it has gigabytes, independent of each other.
//
// # Releases
//
// With As a cluster passes for Kafka 2.8, 3.9, 4.0 or 4.1: the APIs and versions that a broker of that release advertises, down to the
// oldest, its features, configurations and their defaults, error codes, and what it answered otherwise than 4.1 does. Clients
// from Kafka 0.11 on work with Kafka28 and Kafka39; the message formats before that are not served. What still differs is in
// kafka/DIFFERENCES.md.
//
// # Beside the clients
//
// Produce, Records and Committed write and read topics through Go values; LoadJSON and DumpJSON through lines of JSON; Calls
// is what clients have asked, and were told.
//
// # Compared with others
//
// kfake, of franz-go, starts a little faster (0.05 ms to 0.10 ms; the first acknowledged record comes after 0.89 ms, here after 0.82 ms,
// see benchmarks), is smaller, and serves share groups, which are not here. It has faults by rule that answer error codes, functions of the
// test that answer requests, access rules, SASL, moves of leaders and nodes, and a data directory, synced at each write if asked
// for. It has no time that a test advances, no crash or failing disk on command, and no copies of prepared data; its groups and
// transactions are implementations for tests, where those here are the ones that this module's users run in production.
//
// Containers (testcontainers and the like) run the real thing: what passes there passes in production, and for a last check
// before a release nothing is better. They start in seconds, need Docker, and cannot lose a chosen answer, tear a chosen
// write, or let an hour pass.
//
// The mock cluster of librdkafka (test.mock.num.brokers) needs no process either, and is there for C and for all that is built
// on librdkafka. It has the errors, delays and moves that librdkafka's own tests need; no storage, no compaction, no access
// rules, and little of the admin API.
//
// What this one cannot do: replicas are brokers over one store, so a follower never lags by itself; the controller is always
// there; and a bug that Apache Kafka has is not reproduced.
package kafkatest
