// Package group is the consumer group: members that share the partitions of topics between them, and the offsets that
// they have committed.
//
// The nouns are Kafka's. A group has members; each time they change, the coordinator lets all of them join again (a
// rebalance), which makes a new generation; the generation's leader runs an Assignor that gives every partition to
// one member; members commit offsets, and a commit from an old generation is refused. Committed offsets and the
// groups themselves are records of the topic __consumer_offsets, in Kafka's schema.
//
//	billing, err := group.Open(store, "billing", group.Config{}) // open once, share like sql.DB
//	if err != nil { return err }
//	defer billing.Close()
//	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}})
//
// The coordinator is a pure state machine per group (see machine): events go in, effects come out, and it knows no
// clock, lock, goroutine or file. Around it lies a thin shell, one per store, with the mutex, the timers and the log.
// All members of a store's groups, in this process or over the wire, share that one coordinator.
//
// # Guarantees
//
// A commit that has been acknowledged is on disk as safely as the offsets topic's sync mode says, with one exception:
// while the disk is full, commits go on in memory and are written when space returns; Stats counts them, and Close
// reports them if they never could be written. A topic that is deleted and created again does not inherit offsets.
//
// Members of this process end with it. Their records carry the incarnation of the coordinator that wrote them, so the
// next open removes them at once instead of waiting for a session to expire. They need no heartbeat: a suspended
// process expels none of its own members when it wakes, because timeouts count only time in which the process ran.
//
// # Reading the source
//
// The machine: State has its picture, machine.go its events and effects; join.go, sync.go, commit.go and replay.go are
// its steps, testdata/machine its rules as stories. The shell: coordinator.go (calls, timers, effects), requests.go
// (the Coordinator's methods), writer.go and load.go (the log), running.go (timers that a suspended process does not
// run out). Formats: record.go is the offsets topic, protocol.go what consumers tell each other. The rest is the
// handle that applications hold, group.go, and the assignors: assignor.go is what they promise (assigncheck.go holds a
// host's own to it), assignrange.go, assignroundrobin.go and assignsticky.go are Kafka's. The sticky ones read who says
// that it owns what (assignclaims.go), and divide between equal or unequal subscriptions (assignequal.go,
// assignunequal.go), taking members in the order of a Java HashMap (assignorder.go): answers are Kafka's, partition by
// partition.
//
// # Locks
//
// The coordinator's mutex is held during one step of a machine and never during file I/O, a channel operation that
// can block, or a caller's function. There is no lock below it in this package.
package group
