package main

import (
	"regexp"
	"slices"
	"strings"
)

// allowance is an entry of kafka/DIFFERENCES.md: the fields that it is about and what each broker may say.
type allowance struct {
	id                   string
	path, kafka, partlog *regexp.Regexp
	also                 func(difference) bool
}

func may(id, path, kafka, partlog string) allowance {
	full := func(s string) *regexp.Regexp { return regexp.MustCompile(`^(?s:` + s + `)$`) }
	return allowance{id, full(path), full(kafka), full(partlog), func(difference) bool { return true }}
}

var allowed = []allowance{
	may("error-text", `.*\.(ErrorMessage|ErrMessage)`, `.*`, `.*`),
	may("config-documentation", `DescribeConfigs\.Resources\.Configs\.Documentation`, `.*`, `.*`),
	may("txn-start-time", `DescribeTransactions\.TransactionStates\.StartTimestamp`, `0`, `-1`),
	may("static-leader", `JoinGroup\.LeaderID`, `i-ID`, ``),
	may("txn-not-added", `Produce\.Topics\.Partitions\.LogStartOffset`, `-1`, `\d+`),
	may("not-served", `ApiVersions\.ApiKeys\[(34|64|7[6-9]|8[0-7]|9[0-2])\]`, `there`, `missing`),
	may("sasl-order", `connection`, `.*"ErrorCode":34,.*`, `closed the connection`),
	may("quorum", `DescribeQuorum\.Nodes\.Listeners.*`, `.*`, `.*`),
	may("list-duration", `ListTransactions\.TransactionStates`, `\[\{.* TransactionState:(Empty|Complete).*`, `null`),
	may("config-append", `IncrementalAlterConfigs\.Resources\.ErrorCode`, `-1`, `40`),
}

func init() {
	partial := may("fetch-partial", `Fetch\.Topics\.Partitions\.RecordBatches`, `.+`, `.+`)
	partial.also = func(d difference) bool { return strings.HasPrefix(d.kafka, d.partlog) }
	allowed = append(allowed, partial)
}

// allow returns the id of the entry that lets a difference be, or nothing.
func allow(d difference) string {
	for _, a := range slices.Concat(allowed, allowedOfPersona()) {
		if a.path.MatchString(d.path) && a.kafka.MatchString(d.kafka) && a.partlog.MatchString(d.partlog) && a.also(d) {
			return a.id
		}
	}
	return ""
}
