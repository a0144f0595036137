package control

// Result is what a command did.
type Result struct {
	Index  uint64
	Code   Code   // OK, or why nothing was changed; commands with many partitions have a code for each in Answer
	Detail string // for people

	Changed   []PartitionChange // by topic id and number
	Nodes     []NodeID          // registered, unregistered, fenced, unfenced or changed otherwise
	Catalogue *CatalogueChange  // to be given to the store, nil if there is nothing
	Feature   int16             // the new feature level, 0 if it has not changed
	Epoch     int64             // Register: the node's epoch
	Answer    any               // []AlterAnswer, []PartitionAnswer, or nil

	// Halt says that this build cannot apply the command though the cluster can: the node must stop, before it does anything else.
	Halt bool
}

// PartitionChange is a partition before and after a command. Before does not exist for a new one, After not for one that was deleted.
// It is also told if only the effective min.insync.replicas changed.
type PartitionChange struct {
	Partition PartitionID
	Name      string // of the topic
	Before    PartitionState
	After     PartitionState
	MinISR    int32 // effective, from now on
	Unclean   bool  // a leader was elected that may miss records that were committed
}

// CatalogueChange is a change of the shared catalogue.
type CatalogueChange struct {
	Index   uint64
	Kind    uint8
	Payload []byte
}

// AlterAnswer is the answer for one partition of AlterPartitions: the code, and the state as it is now.
type AlterAnswer struct {
	Partition PartitionID
	Code      Code
	State     PartitionState
}

// PartitionAnswer is the answer for one partition of Reassign or Elect.
type PartitionAnswer struct {
	Partition PartitionID
	Code      Code
	Detail    string
}
