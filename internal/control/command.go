package control

// Command is one change of the cluster's state as it is proposed. Commands are values; nobody writes to their slices once they have been
// proposed or applied.
type Command interface{ isCommand() }

// Event is the part of a command that is for the shared catalogue of the stores, which the controller does not look into.
// A command with a Kind of 0 changes nothing there.
type Event struct {
	Expect  uint64 // index of the last change of the catalogue that the proposer had applied: another one since is a Conflict
	Kind    uint8
	Payload []byte
}

// Register registers a process of a node (BrokerRegistration). Its epoch is the command's index. Whatever the node led it leads no more, and
// it starts fenced. The same incarnation again keeps its epoch.
type Register struct {
	ID                     NodeID
	Incarnation            [16]byte
	DirectoryID            [16]byte
	Addr                   string
	Listeners              []Listener
	Rack                   string
	MinFeature, MaxFeature int16
	// PreviousEpoch is the epoch of the process before, if it was shut down such that nothing written then is missing now; else NoEpoch.
	// Any other than the registered one is an unclean shutdown: the node leaves every ISR and ELR.
	PreviousEpoch int64
	// PreviousIncarnation is the incarnation of the process before, noted before it registered, under the same condition: a process that
	// was killed before it heard of its epoch is known by it. Zero: not known.
	PreviousIncarnation [16]byte
	// Replaces is the epoch of the registration whose session the Watch has found ended; without, another incarnation is not replaced.
	Replaces int64
	// ControllerOnly: the node takes part in the quorum and keeps no replicas. It needs LevelRoles, and has to have none assigned.
	ControllerOnly bool
}

// Unregister removes a node for good. Its replicas stay assigned until they are reassigned.
type Unregister struct{ ID NodeID }

// Fence takes all leaderships from a node and takes it out of all ISRs, its session having ended.
type Fence struct {
	Node  NodeID
	Epoch int64
}

// Unfence lets a registered node lead and be in sync.
type Unfence struct {
	Node  NodeID
	Epoch int64
}

// BeginShutdown begins a controlled shutdown: the node's leaderships move, and it leaves all ISRs.
type BeginShutdown struct {
	Node  NodeID
	Epoch int64
}

// AlterPartitions is a leader's change of the ISRs of its partitions (KIP-497). The Result's Answer is []AlterAnswer, in the same order.
type AlterPartitions struct {
	Node       NodeID // the leader
	Epoch      int64
	Partitions []AlterPartition
}

// AlterPartition is the change of one ISR.
type AlterPartition struct {
	Partition      PartitionID
	LeaderEpoch    int32
	PartitionEpoch int32
	ISR            []Member
	Recovering     bool // the leader has not yet recovered from its unclean election
}

// Member is a replica by node and epoch of its registration (KIP-903); an epoch of NoEpoch is not looked at.
type Member struct {
	Node  NodeID
	Epoch int64
}

// OfflineReplicas tells that replicas of a node have failed (a failed sync, lost or damaged bytes): they lead no more, leave ISR and ELR, and are
// not eligible until OnlineReplicas or the node's next registration.
type OfflineReplicas struct {
	Node       NodeID
	Epoch      int64
	Partitions []PartitionID
}

// OnlineReplicas tells that failed replicas have been repaired, or made anew.
type OnlineReplicas struct {
	Node       NodeID
	Epoch      int64
	Partitions []PartitionID
}

// Resign asks for another replica in sync to lead partitions that the node leads: it has no room for what is appended. Its copy is whole, so it stays
// eligible wherever no two others hold what is committed, and without another that can lead now it goes on leading. It needs LevelRoles, which came in the same version.
type Resign struct {
	Node       NodeID
	Epoch      int64
	Partitions []PartitionID
}

// CreateTopic creates a topic. Replicas that are not active do not begin in the ISR.
type CreateTopic struct {
	Event
	ID         TopicID
	Name       string
	Config     TopicConfig
	Assignment [][]NodeID // by partition
}

// DeleteTopic deletes a topic.
type DeleteTopic struct {
	Event
	ID TopicID
}

// GrowTopic adds partitions.
type GrowTopic struct {
	Event
	ID         TopicID
	From       int32 // how many there are
	Assignment [][]NodeID
}

// ConfigureTopic changes what the controller knows of a topic's configuration.
type ConfigureTopic struct {
	Event
	ID     TopicID
	Config TopicConfig
}

// ConfigureCluster changes the defaults.
type ConfigureCluster struct {
	Event
	Config ClusterConfig
}

// Catalogue is a change of the shared catalogue that does not concern the controller.
type Catalogue struct{ Event }

// Reassign changes the replicas of partitions (KIP-455). The Result's Answer is []PartitionAnswer, in the same order.
type Reassign struct {
	Partitions []Reassignment
	// KeepFactor refuses targets with another number of replicas.
	KeepFactor bool
}

// Reassignment is one partition's. A nil target cancels what is in progress.
type Reassignment struct {
	Partition PartitionID
	Target    []NodeID
}

// Elect asks for leaders to be elected (ElectLeaders, KIP-460, KIP-183). The Result's Answer is []PartitionAnswer: of the partitions in the same
// order, or, if none are named, of all that were in need of an election.
type Elect struct {
	Unclean    bool // of any live replica, if need be; else of the preferred ones
	Partitions []PartitionID
}

// SetFeature raises the feature level.
type SetFeature struct{ Level int16 }

// NoOp changes nothing.
type NoOp struct{}

// Unknown is a command of a later version. It is refused, and should the cluster's level be so high, the node must stop.
type Unknown struct {
	Kind  uint8
	Level int16
	Body  []byte
}

func (Register) isCommand()         {}
func (Unregister) isCommand()       {}
func (Fence) isCommand()            {}
func (Unfence) isCommand()          {}
func (BeginShutdown) isCommand()    {}
func (AlterPartitions) isCommand()  {}
func (OfflineReplicas) isCommand()  {}
func (OnlineReplicas) isCommand()   {}
func (Resign) isCommand()           {}
func (CreateTopic) isCommand()      {}
func (DeleteTopic) isCommand()      {}
func (GrowTopic) isCommand()        {}
func (ConfigureTopic) isCommand()   {}
func (ConfigureCluster) isCommand() {}
func (Catalogue) isCommand()        {}
func (Reassign) isCommand()         {}
func (Elect) isCommand()            {}
func (SetFeature) isCommand()       {}
func (NoOp) isCommand()             {}
func (Unknown) isCommand()          {}
