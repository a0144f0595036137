package segment

import (
	"strconv"
	"strings"
)

// Files of a partition directory that belong to no segment.
const (
	EpochCheckpointName   = "leader-epoch-checkpoint"
	PartitionMetadataName = "partition.metadata"
	DoubtName             = "doubt" // empty: what the system's cache shows of the log may not be on disk
)

// Files of a log directory (a broker's log.dir, a store's data/).
const (
	MetaPropertiesName  = "meta.properties"
	CleanShutdownName   = ".kafka_cleanshutdown"
	BrokerLockName      = ".lock"
	RecoveryPointName   = "recovery-point-offset-checkpoint"
	HighWatermarkName   = "replication-offset-checkpoint"
	LogStartOffsetName  = "log-start-offset-checkpoint"
	CleanerOffsetName   = "cleaner-offset-checkpoint"
	BootstrapName       = "bootstrap.checkpoint"
	ClusterMetadataName = "__cluster_metadata-0"
	RemoteIndexName     = "remote-log-index-cache"
)

// Suffixes. A segment file may carry one of Deleted, Cleaned and Swap behind
// its own; Tmp is what any file is called until it is complete.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	sumSuffix       = ".sum"
	keyIndexSuffix  = ".keyindex"

	DeletedSuffix = ".deleted"
	CleanedSuffix = ".cleaned"
	SwapSuffix    = ".swap"
	TornSuffix    = ".torn"
	TmpSuffix     = ".tmp"
)

// LogName is the name of the records of the segment that begins at base.
func LogName(base int64) string { return segmentName(base, logSuffix) }

// IndexName is the name of the offset index of the segment that begins at base.
func IndexName(base int64) string { return segmentName(base, indexSuffix) }

// TimeIndexName is the name of the time index of the segment that begins at base.
func TimeIndexName(base int64) string { return segmentName(base, timeIndexSuffix) }

// TxnIndexName is the name of the aborted transactions of the segment that
// begins at base.
func TxnIndexName(base int64) string { return segmentName(base, txnIndexSuffix) }

// SnapshotName is the name of the producer snapshot that covers all offsets
// below end.
func SnapshotName(end int64) string { return segmentName(end, snapshotSuffix) }

// SumName is the name of the checksums of the segment that begins at base.
func SumName(base int64) string { return segmentName(base, sumSuffix) }

// KeyIndexName is the name of the key index of the segment that begins at base.
func KeyIndexName(base int64) string { return segmentName(base, keyIndexSuffix) }

// TornName is the name under which recovery keeps bytes that it cut from the
// log file of the segment that begins at base, from position on.
func TornName(base, position int64) string {
	return LogName(base) + "." + strconv.FormatInt(position, 10) + TornSuffix
}

// segmentName pads to 20 digits, so that names sort as offsets do.
func segmentName(base int64, suffix string) string {
	var buf [40]byte
	digits := strconv.AppendInt(buf[:0], base, 10)
	var b strings.Builder
	b.Grow(20 + len(suffix))
	for range 20 - len(digits) {
		b.WriteByte('0')
	}
	b.Write(digits)
	b.WriteString(suffix)
	return b.String()
}

// Kind says what a file of a partition directory is.
type Kind uint8

// The kinds of files in a partition directory. KindForeign is everything that
// is not Kafka's and not ours; it is left alone.
const (
	KindForeign Kind = iota
	KindLog
	KindIndex
	KindTimeIndex
	KindTxnIndex
	KindSnapshot
	KindSum
	KindEpochCheckpoint
	KindPartitionMetadata
	KindTorn // bytes that recovery cut off a log file
	KindKeyIndex
	KindDoubt
)

// String is the kind in a word.
func (k Kind) String() string {
	return [...]string{"foreign", "log", "index", "timeindex", "txnindex", "snapshot", "sum",
		"leader-epoch-checkpoint", "partition.metadata", "torn", "keyindex", "doubt"}[k]
}

// State says in which step of its life a file is, by its last suffix.
type State uint8

// The states of a file. Only Live files count; the others are the remains of
// a step that was interrupted, or wait to be unlinked.
const (
	Live    State = iota
	Deleted       // renamed for deletion, to be unlinked
	Cleaned       // compaction's output, not complete
	Swap          // compaction's output, complete, on its way to its place
	Tmp           // being written; never read
)

// Name is the parsed name of a file in a partition directory.
type Name struct {
	Kind     Kind
	State    State
	Base     int64 // base offset; of a snapshot the exclusive end offset
	Position int64 // of KindTorn: where in the log file the bytes were
}

// ParseName parses the name of a file (not a path) of a partition directory.
// A name that nothing in this package can have made is KindForeign.
func ParseName(name string) Name {
	var n Name
	stem := name
	for _, s := range [...]struct {
		suffix string
		state  State
	}{{DeletedSuffix, Deleted}, {CleanedSuffix, Cleaned}, {SwapSuffix, Swap}, {TmpSuffix, Tmp}} {
		if rest, ok := strings.CutSuffix(name, s.suffix); ok {
			stem, n.State = rest, s.state
			break
		}
	}
	switch stem {
	case EpochCheckpointName:
		n.Kind = KindEpochCheckpoint
	case PartitionMetadataName:
		n.Kind = KindPartitionMetadata
	case DoubtName:
		if n.State != Live {
			return Name{}
		}
		n.Kind = KindDoubt
	}
	if n.Kind != KindForeign {
		if n.State == Live || n.State == Tmp {
			return n
		}
		return Name{}
	}
	if rest, ok := strings.CutSuffix(stem, TornSuffix); ok {
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 {
			return Name{}
		}
		position, ok := parseDecimal(rest[dot+1:])
		log := ParseName(rest[:dot])
		if !ok || log.Kind != KindLog || log.State != Live || (n.State != Live && n.State != Tmp) {
			return Name{}
		}
		return Name{Kind: KindTorn, State: n.State, Base: log.Base, Position: position}
	}
	if len(stem) <= 20 || stem[20] != '.' {
		return Name{}
	}
	base, ok := parseDecimal(strings.TrimLeft(stem[:19], "0") + stem[19:20])
	if !ok || !allDigits(stem[:20]) {
		return Name{}
	}
	switch stem[20:] {
	case logSuffix:
		n.Kind = KindLog
	case indexSuffix:
		n.Kind = KindIndex
	case timeIndexSuffix:
		n.Kind = KindTimeIndex
	case txnIndexSuffix:
		n.Kind = KindTxnIndex
	case snapshotSuffix:
		n.Kind = KindSnapshot
	case sumSuffix:
		n.Kind = KindSum
	case keyIndexSuffix:
		n.Kind = KindKeyIndex
	default:
		return Name{}
	}
	n.Base = base
	return n
}

// parseDecimal accepts what strconv.FormatInt writes for a number ≥ 0.
func parseDecimal(s string) (int64, bool) {
	if !allDigits(s) || (len(s) > 1 && s[0] == '0') {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0
}
