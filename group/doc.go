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
// A commit is one batch: after a crash all of its partitions are there, or none. One that is larger than the offsets topic
// takes (max.message.bytes, 1 MiB: some ten thousand partitions with short metadata) is ErrInvalidCommitOffsetSize, and
// nothing of it counts; commit in parts, or raise the limit with Store.AlterTopicConfig. The same bound is on whatever
// must be whole: a commit in a transaction, the record of a classic group's generation, what one heartbeat changes in a
// consumer group, a change from one protocol to the other; those fail with partition.ErrMessageTooLarge, and the group is as
// it was. What may be seen half is written in parts of 64 KiB and has no bound: deletions (the group itself goes with the
// last part; ask again after a crash), what expires, offsets of deleted topics, and what was kept in memory on a full disk.
//
// A commit in a producer's transaction (CommitRequest.Txn) counts from the moment the coordinator reads the
// transaction's marker back from the log, or never. Whoever must not read past it asks with
// OffsetsRequest.RequireStable. Of commits of one partition, in transactions and not, the one with the later record
// counts, so that a restart or the cleaner changes nothing. Such commits are refused while the disk is full: what cannot
// be written must not be promised.
//
// Members of this process end with it. Their records carry the incarnation of the coordinator that wrote them, so the
// next open removes them at once instead of waiting for a session to expire. They need no heartbeat: a suspended
// process expels none of its own members when it wakes, because timeouts count only time in which the process ran.
//
// A static member (JoinRequest.InstanceID, KIP-345) keeps its place and its partitions when it comes back within its
// session, and nobody rebalances for that: also over a restart of its process, also if it leads. Two with one instance
// id: the later one has the place, the earlier one gets ErrFencedInstanceID from then on.
//
// Nothing expires unless CoordinatorConfig.OffsetsRetention says so.
//
// # Tools
//
// List, Delete, ConsumerGroup.Standings (members, offsets, lag), Reset and PlanReset (earliest, latest, an offset, a time,
// a duration ago, a shift), DeleteOffsets and Remove do what kafka-consumer-groups does, with its rules: offsets are
// moved and groups deleted only while nobody is in them, and offsets of topics that are being read are not deleted.
//
// # The new protocol
//
// Members of the new protocol (KIP-848) come by Coordinator.ConsumerGroupHeartbeat. There is no leader and no
// generation that all wait for: the coordinator computes a target assignment, each member gives up what it is not to
// have, says so, and gets what others have given up. Members of both protocols may share a group: the first of the new
// one makes a classic group of consumers a consumer group, the last one to leave makes it a classic group again, and in
// between the coordinator translates (ConsumerGroupConfig.Migration). Unlike commits, changes of a consumer group are
// refused while the disk is full.
//
// # Reading the source
//
// The machine: State has its picture, steps.go its events and effects; join.go, static.go, sync.go, leave.go,
// commit.go, offsets.go (which commit counts, transactions), delete.go, expire.go and replay.go are its steps,
// testdata/machine its rules as stories. The shell: coordinator.go (calls, timers, effects), requests.go,
// offsetrequests.go and grouprequests.go (the Coordinator's methods), writer.go, load.go and tail.go (the log), expiry.go,
// running.go (timers that a suspended process does not run out). Formats: record.go is the offsets topic, protocol.go
// what consumers tell each other. Consumer groups (KIP-848) are the nextgen files, with their server assignors. The rest is
// what applications hold, group.go, admin.go and reset.go, and the assignors: assignor.go is what they promise
// (assigncheck.go holds a host's own to it), assignrange.go, assignroundrobin.go and assignsticky.go are Kafka's. The
// sticky ones read who says that it owns what (assignclaims.go), and divide between equal or unequal subscriptions
// (assignequal.go, assignunequal.go), taking members in the order of a Java HashMap (assignorder.go): answers are Kafka's,
// partition by partition.
//
// Consumer groups are a machine within the machine, nextgen: nextgenstate.go is what the log says of a group,
// nextgenchange.go and nextgenrecord.go how it changes, nextgenlog.go how changes are written and taken back,
// nextgenheartbeat.go and nextgentarget.go the protocol, nextgenclassic.go and nextgenconvert.go its dealings with the
// classic one; testdata/nextgen has the rules as stories. Server assignors are serverassign.go, serveruniform.go and
// serverbalance.go.
//
// # Locks
//
// The coordinator's mutex is held during one step of a machine and never during file I/O, a channel operation that
// can block, or a caller's function, but for a ServerAssignor, which computes and does nothing else. There is no lock below it in this package.
package group
