package partition

// Every name in a store's directory that is not Kafka's. What is in dataDirName is Kafka's log directory, whose names
// are in internal/segment; nothing but partitions has a directory in there, because Kafka refuses to start over others.
const (
	lockName       = "lock"    // flock, with a record of its owner
	journalDirName = "journal" // the catalogue
	dataDirName    = "data"    // a Kafka log directory

	memoryRoot = "/partlog" // of a store without a disk

	dirMode  = 0o700
	fileMode = 0o600
)
