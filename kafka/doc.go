// Package kafka lets any Kafka client talk to a store: it puts a partition.Store behind Apache Kafka's wire protocol, as the
// brokers of a Kafka 4.1 cluster.
//
//	store, err := partition.Open("data", partition.Config{})
//	if err != nil { return err }
//	defer store.Close()
//	l, err := net.Listen("tcp", "127.0.0.1:9092")
//	if err != nil { return err }
//	server, err := kafka.Serve(l, store, kafka.Config{})
//	if err != nil { return err }
//	defer server.Close() // before the store
//
// Clients connect to localhost:9092 from then on, whatever they are written in. Members of a consumer group over the wire and
// members in this process (package group) are members of one group; a transaction may be begun here and its records be read
// there; topics, offsets and settings are the store's.
//
// # Brokers and listeners
//
// A Server has one or more brokers over one store. Serve makes one; New and AddBroker make as many as are wanted, each with a
// node id, a rack and any number of listeners: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL. A client is told, of every broker,
// the address of the listener with the name of its own (advertised.listeners).
//
// Partitions have leaders and replicas on these brokers, by Kafka's rules, and coordinators are the leaders of the partitions
// of the internal topics. That is what clients see; there is one copy of each record, in the store, on one disk. Replicas
// decide which broker serves a partition, and what Metadata and acks=all with min.insync.replicas say; they are no backup.
// Broker.Stop, Broker.Start, Server.MoveLeader and Server.SetISR do to clients what happens to them in a cluster. Replica
// lists are kept in the catalogue. A replica on a broker that is stopped is down; one on a broker that the Server does not
// have is gone for good, and the others serve what it had.
//
// # What is served
//
// Every API and version that an Apache Kafka 4.1 broker advertises to clients, but share groups,
// AlterReplicaLogDirs and, but on a node, UnregisterBroker, AddRaftVoter and RemoveRaftVoter; delegation tokens answer
// DELEGATION_TOKEN_AUTH_DISABLED. Errors, their order, and
// what old versions are told instead are the Java broker's. A request outside of the advertised ranges closes its connection,
// with a reason in Events.ConnectionClosed; only ApiVersions answers any version. Record batches are of format 2; message sets
// of formats 0 and 1 are refused (INVALID_RECORD), as by Kafka 4. What is answered otherwise than by Apache Kafka 4.1.2 is
// listed, with reasons, in DIFFERENCES.md.
//
// Where it is kinder than Kafka: a topic that a metadata request creates is there in the answer; a commit or an abort of a
// transaction waits for its predecessor's end, up to a second, before it is told CONCURRENT_TRANSACTIONS.
//
// # Guarantees
//
// acks=all is acknowledged when the topic's sync mode has been satisfied, by default a sync to the disk, which Kafka does not
// do by itself. acks=1 is in the page cache. acks=0 is not answered, and an error closes the connection.
//
// Properties (Config.Properties, BrokerConfig.Properties) have the names of Kafka's server.properties. One whose promise
// cannot be kept is an error that says why.
//
// # Security
//
// A listener without TLS is refused on an address that is not loopback, unless Config.AllowPlaintext says so. Without
// authorizer.class.name everybody may do everything, as in Kafka.
//
// A frame is refused above socket.request.max.bytes before room is made for it; while bytes arrive, room grows with them.
// All frames and answers in hand together are bounded (queued.max.request.bytes, 512 MiB). Each request is walked along its
// schema before it is decoded: no count is believed that its bytes do not bear out. A panic ends its connection only.
//
// # Concurrency
//
// Each connection has a goroutine; requests of a connection are answered one at a time, in their order. Whoever waits, for an
// append, a group or a quota, waits there; appends wake fetches, nothing polls. All methods of Server and Broker may be called
// by any number of goroutines. Locks are taken in this order: Server.mu, layout.changing, layout.mu; the store's come after
// them. Events and Interceptor are called with none held.
//
// # Compared
//
// kfake (franz-go) is a broker in Go for tests, in memory or with a data directory, which it can sync at each write. It starts a
// little faster, is smaller, has access rules, SASL, faults by rule, and share groups, which are not here. Its files are its own, its
// quotas are stored and not enforced, and it is no store for a service.
// testcontainers run a real Kafka, which is the last word, in seconds and gigabytes; so do .ci's differential runs of this
// package. librdkafka's mock cluster is made for tests of librdkafka and what is built on it: what producers, groups and
// transactions need, little administration, records in memory.
package kafka
