package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// With -persona the other broker is one of an older release, and ours passes for it: what the release does not serve is not
// sent, and what it served further down than Kafka 4 is. persona maps the keys of its APIs to their versions; empty means a broker of 4.1.
var persona map[int16]span

type span struct{ from, to int16 }

// notServed ends the comparison of a request that the release does not serve.
type notServed struct{}

// pass reads what the release serves (kafka/kafkatest/testdata/personas), and draws that.
func pass(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	persona = map[int16]span{}
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		key, err := strconv.ParseInt(columns[0], 10, 16)
		if err != nil || len(columns) != 4 {
			continue // the head, or a feature
		}
		from, err := strconv.ParseInt(columns[2], 10, 16)
		if err != nil {
			return err
		}
		to, err := strconv.ParseInt(columns[3], 10, 16)
		if err != nil {
			return err
		}
		persona[int16(key)] = span{int16(from), int16(to)}
	}
	// Message formats v0 and v1 are not served, whatever the release.
	persona[0], persona[1] = span{3, persona[0].to}, span{4, persona[1].to}
	var kept []drawn
	for _, d := range drawns {
		s, ok := persona[d.key]
		if !ok || d.key == 45 && old28() { // to the replicas that there are, 2.8 raises the epoch, which other answers are full of
			continue
		}
		d.from, d.to = max(s.from, d.floor), s.to
		kept = append(kept, d)
	}
	drawns = kept
	return nil
}

// old28 says whether the release is 2.8 or older: it has no KIP-664 yet.
func old28() bool { return persona != nil && persona[65] == span{} }

// lowest returns the lowest version that is served, from what Kafka 4 has.
func lowest(key, of4 int16) int16 {
	if persona != nil {
		return persona[key].from
	}
	return of4
}

// highest returns the highest version that is served, from what Kafka 4 has.
func highest(key, of4 int16) int16 {
	if persona != nil {
		return min(persona[key].to, of4)
	}
	return of4
}

// served panics with notServed if a request is not to be sent.
func served(req kmsg.Request, version int16) {
	if persona == nil {
		return
	}
	if s, ok := persona[req.Key()]; !ok || version < s.from || version > s.to {
		panic(notServed{})
	}
}

// oldOffsets draws of ListOffsets 0 what does not depend on when a file was last written, and names a group in OffsetFetch 8 and above.
func oldOffsets(req kmsg.Request) {
	if persona == nil {
		return
	}
	switch r := req.(type) {
	case *kmsg.ListOffsetsRequest:
		for _, t := range r.Topics {
			for i := range t.Partitions {
				if p := &t.Partitions[i]; r.Version == 0 && p.Timestamp < 4000000000000 {
					p.Timestamp = -1 - p.Timestamp&1
				}
				if t.Partitions[i].MaxNumOffsets < 1 {
					t.Partitions[i].MaxNumOffsets = 3
				}
			}
		}
	case *kmsg.OffsetFetchRequest:
		if r.Version >= 8 && len(r.Groups) == 0 { // 3.9 fails without an answer
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = "g1"
			r.Groups = append(r.Groups, g)
		}
	}
}

// of28 are differences between 2.8 and its double that are in the document.
var of28 = []allowance{
	may("old-admin-order", `(AlterPartitionAssignments|ElectLeaders|AlterUserSCRAMCredentials|IncrementalAlterConfigs|AlterConfigs|DescribeClientQuotas|AlterClientQuotas)\..*ErrorCode`, `-?[1-9]\d*`, `-?[1-9]\d*`),
	may("old-log-dirs", `DescribeLogDirs\.Dirs\.Topics\[.*\]`, `there`, `missing`),
	may("old-log-dirs", `DescribeLogDirs\.Dirs\.Topics`, `\[.*`, `null`),
	may("old-quotas", `AlterClientQuotas\.Entries\.ErrorCode`, `0`, `42`),
	may("old-pending", `OffsetFetch\.Topics\.Partitions\.(ErrorCode|Offset)`, `88|-1`, `\d+`),
	may("old-between-brokers", `ApiVersions\.ApiKeys\[([4-7]|56)\]`, `there`, `missing`),
	may("old-unverified", `(Produce|TxnOffsetCommit)\.Topics\.Partitions\.ErrorCode`, `0`, `48`),
}

// ofOld are differences between 2.8 or 3.9 and their doubles.
var ofOld = []allowance{
	may("old-features", `UpdateFeatures\.Results\.ErrorCode`, `0`, `95`),
	may("old-formats", `ApiVersions\.ApiKeys\.MinVersion`, `0`, `4`),
}

// allowedOfPersona lists what may differ beside the rest.
func allowedOfPersona() []allowance {
	switch {
	case persona == nil:
		return nil
	case old28():
		return slices.Concat(of28, ofOld)
	}
	return ofOld
}
