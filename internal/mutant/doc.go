// Package mutant re-introduces bugs, one at a time, so that tests can show that they would find them. Most are bugs that Apache Kafka or
// another system has had; Names says which. A mutant is a condition in the code it spoils:
//
//	if mutant.On(mutant.AckBeforeHighWatermark) || o < l.highWatermark {
//
// Without the build tag mutants, On is constantly false and the compiler leaves nothing of it. With the tag, Set chooses one.
//
// One of them no cluster can show: AppendOtherEpoch. Only a leader of a later epoch has records of it, and that one refuses who follows an earlier
// epoch (FENCED_LEADER_EPOCH). Were it not to, the records would be those that the follower is to have in that epoch, and if their leader loses
// them, the follower's next fetch names their epoch and it has to cut them. The rule is a second lock on the same door, as in Kafka.
package mutant

// Name is one bug.
type Name uint8

// The bugs. The comment says whose they were and what they do.
const (
	None Name = iota

	TruncateToHighWatermark    // KIP-101: a follower truncates to its own high watermark when it begins to follow
	TruncateWithoutLowerEpoch  // KIP-279: a follower ignores that the leader answered about an earlier epoch than asked, and cuts at that offset
	AppendWithoutDivergence    // KIP-320, first try: the leader does not compare epochs in a fetch
	LastReplicaStanding        // KIP-966: under min ISR the high watermark moves with what is left of the ISR
	StaleFollowerJoins         // KIP-903: a fetch from an earlier life of a follower lets it join the ISR
	ResumeLeadership           // KAFKA-10527: a leader goes on leading in the same epoch after a restart
	AckBeforeHighWatermark     // acks=all is answered when the leader has written
	StaleAlterPartition        // the controller takes an ISR without comparing partition epochs
	StaleLeaderAlters          // the controller takes an ISR from who led an earlier epoch
	FencedJoinsISR             // the controller takes a fenced node into the ISR
	VoteNotPersisted           // raft's vote is not synced before it is told
	RaftEntriesNotSynced       // raft's entries are acknowledged before they are synced
	HighWatermarkAhead         // the high watermark follows the most advanced follower, not the least
	IgnoreProposedISR          // the high watermark does not wait for those that an AlterPartition in flight adds (maximal ISR)
	JoinBelowHighWatermark     // a follower joins the ISR before it has reached the high watermark
	JoinBelowEpochStart        // a follower joins the ISR before it has reached the start of the leader's epoch
	StaleLeaderServes          // a node that has lost its leadership goes on taking records and fetches
	StaleEpochFetch            // a leader takes a follower's fetch of another leader epoch
	UncleanKeepsISR            // a node that comes back without its un-synced bytes stays in the ISR and the ELR
	UncleanAlways              // a leader is elected from outside ISR and ELR although nobody allowed it
	ElectionSameEpoch          // a new leader has the leader epoch of the one before
	RemovedTooEarly            // a reassignment drops the old replicas before the new ones are in the ISR
	ServeAboveHighWatermark    // consumers are given what is not committed
	NewLeaderForgetsProducers  // a new leader does not know the sequences of producers (KAFKA-14034 in effect)
	AppendOtherEpoch           // a follower takes records of an epoch above the one it follows; alone it breaks nothing, see below
	MinISRNotChecked           // acks=all is taken and answered with fewer in the ISR than min.insync.replicas
	EpochCacheNotTruncated     // a truncated follower answers about epochs that it has cut off
	SessionForgetsPartition    // an incremental fetch session answers as if nothing was new (KIP-227)
	SnapshotWithoutEpochs      // a snapshot of the controller forgets leader epochs
	OffsetsBeforeCommit        // a group's commit is answered before the high watermark
	EndTxnOfNext               // KAFKA-17754: a delayed EndTxn ends the producer's next transaction
	StaleCatalogue             // a node answers about topics by what it knows, without asking whether there is more
	DeletedReplicaStays        // the files of a deleted topic's replica are not removed
	FeatureWithoutNodes        // the feature level is raised above what a node can live with
	SecondProcessAdmitted      // a process is registered in the place of another that lives
	DirectoryNotCompared       // a node is registered with a copy of another's directory (KIP-858)
	SilentUnclean              // an unclean election is not told to be one
	StaleMemberCommits         // a group takes the commit of a member of an old generation
	LogStartForgotten          // a node that starts again does not know up to where records were deleted
	DeletedByLeaderOnly        // DeleteRecords is answered when the leader has done it
	CleanUncommitted           // compaction goes into what is not committed
	NearReadAboveHighWatermark // a follower gives consumers what is not committed (KIP-392)
	GenerationForgotten        // a new coordinator begins a group's generations anew
	GivenBeforeRevoked         // KIP-848: a member is given a partition that another has not given up

	end
)

// Count is how many there are.
const Count = int(end) - 1
