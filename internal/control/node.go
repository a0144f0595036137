package control

// NodeID is a node's id, Kafka's broker id; never negative.
type NodeID int32

// NoNode stands for no leader.
const NoNode NodeID = -1

// NoEpoch is a node epoch that no registration has: in Register it says that the shutdown was not clean, in ISR members that
// the epoch is not known.
const NoEpoch int64 = -1

// Node is a registered node. Its slices are not changed by anybody.
type Node struct {
	ID          NodeID
	Epoch       int64    // the index of the registration's command
	Incarnation [16]byte // of the process, drawn when it starts
	Addr        string   // for peers
	Listeners   []Listener
	Rack        string
	DirectoryID [16]byte // of the data directory (KIP-858)

	MinFeature, MaxFeature int16 // the feature levels that the node can live with

	// ControllerOnly: it takes part in the quorum and keeps no replicas (Kafka's process.roles=controller). It stays fenced.
	ControllerOnly bool

	Fenced        bool   // neither leader nor in sync: it has just registered, or its session has ended
	ShuttingDown  bool   // in controlled shutdown: its leaderships have gone
	ShutdownIndex uint64 // of the command that began the controlled shutdown; 0 without one
}

// Active reports whether the node may lead and be in sync.
func (n Node) Active() bool { return !n.Fenced && !n.ShuttingDown && !n.ControllerOnly }

// Listener is an address for clients.
type Listener struct {
	Name     string // listener name, as PLAINTEXT
	Protocol int16  // Kafka's security protocol id: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
	Host     string
	Port     uint16
}

// Feature levels. A cluster is at one; commands and behaviour above it are refused and off, so that nodes of different versions
// come to the same state while a cluster is upgraded one node at a time.
const (
	LevelBase  int16 = 1
	LevelELR   int16 = 2 // eligible leader replicas (KIP-966)
	LevelRoles int16 = 3 // nodes that are controllers only

	// MinLevel and MaxLevel are what this build knows.
	MinLevel = LevelBase
	MaxLevel = LevelRoles
)
