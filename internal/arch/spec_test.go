package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Which test proves which rule of Apache Kafka's. The tables are in specrecords_test.go (record batches, the files of a log, its
// behaviour), spectransactions_test.go (producers, idempotence, transactions) and specgroups_test.go (consumers, groups, committed
// offsets); a rule that has no test, or whose test is gone, fails here. A proof is one or more of these, with semicolons between:
//
//	folder: TestX TestY     tests, fuzz tests or examples of a package; short names of folders are in proofFolders
//	folder: a b             stories of a testdata folder, a.txt and b.txt
//	ci: flights             an oracle with Apache Kafka's own programs, .ci/flights
//	listener: what          belongs to the wire protocol only, and has no test yet
//	replication: what       belongs to brokers that replicate, and has no test yet
//	cluster: what           belongs to clients of a cluster, and has no test yet
//	differs: how            on purpose; the tests beside it say what is done instead
type specRule struct{ at, rule, proof string }

// proofFolders are short names in proofs.
var proofFolders = map[string]string{
	"batch": "internal/batch", "segment": "internal/segment", "compress": "internal/compress", "txn": "internal/txn", "vfs": "internal/vfs",
	"producers": "log/testdata/producers", "machine": "internal/txn/testdata/machine", "groups": "group/testdata/machine",
	"nextgen": "group/testdata/nextgen",
}

// unproven are the marks of rules that wait for code to come.
var unproven = []string{"listener", "replication", "cluster"}

var declaration = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

// spec finds what proofs name.
type spec struct {
	root string
	have map[string]map[string]bool // folder: names in it
}

// check returns what is wrong with a rule, and whether it has a test.
func (s *spec) check(r specRule) (wrong []string, proven bool) {
	waits := false
	for part := range strings.SplitSeq(r.proof, ";") {
		folder, names, ok := strings.Cut(strings.TrimSpace(part), ": ")
		if !ok || strings.TrimSpace(names) == "" {
			wrong = append(wrong, fmt.Sprintf("%q is no proof", part))
			continue
		}
		switch {
		case folder == "differs":
			continue
		case strings.Contains(" "+strings.Join(unproven, " ")+" ", " "+folder+" "):
			waits = true
			continue
		}
		for name := range strings.FieldsSeq(names) {
			if err := s.find(folder, name); err != nil {
				wrong = append(wrong, err.Error())
				continue
			}
			proven = true
		}
	}
	if !proven && !waits && len(wrong) == 0 {
		wrong = append(wrong, "nothing proves it")
	}
	return wrong, proven
}

// find returns an error unless a folder has a test or a story of that name.
func (s *spec) find(folder, name string) error {
	if folder == "ci" {
		_, err := os.Stat(filepath.Join(s.root, ".ci", name))
		return err
	}
	if long, ok := proofFolders[folder]; ok {
		folder = long
	}
	if strings.Contains(folder, "testdata") {
		_, err := os.Stat(filepath.Join(s.root, folder, name+".txt"))
		return err
	}
	if s.have[folder] == nil {
		files, err := filepath.Glob(filepath.Join(s.root, folder, "*_test.go"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no tests in %s: %v", folder, err)
		}
		s.have[folder] = map[string]bool{}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, m := range declaration.FindAllSubmatch(text, -1) {
				s.have[folder][string(m[1])] = true
			}
		}
	}
	if !s.have[folder][name] {
		return fmt.Errorf("%s has no %s", folder, name)
	}
	return nil
}

func TestEveryRuleOfTheSpecificationHasATest(t *testing.T) {
	s := &spec{root: "../..", have: map[string]map[string]bool{}}
	for _, table := range []struct {
		name  string
		rules []specRule
	}{{"records and log", recordsAndLog}, {"producer and transactions", producerAndTransactions}, {"groups and consumers", groupsAndConsumers}} {
		t.Run(table.name, func(t *testing.T) {
			seen := map[string]bool{}
			proven := 0
			for _, r := range table.rules {
				wrong, ok := s.check(r)
				for _, w := range wrong {
					t.Errorf("%s %s: %s", r.at, r.rule, w)
				}
				require.False(t, seen[r.at+r.rule], "%s %s: twice", r.at, r.rule)
				seen[r.at+r.rule] = true
				if ok {
					proven++
				}
			}
			t.Logf("%d rules, %d with a test, %d that wait for code to come", len(table.rules), proven, len(table.rules)-proven)
		})
	}
}

// The check finds what it is there for.
func TestRuleWithoutATestIsFound(t *testing.T) {
	s := &spec{root: "../..", have: map[string]map[string]bool{}}
	for proof, want := range map[string]string{
		"batch: TestPeekFindsTheFirstBatch":           "",
		"producers: bracket; listener: the code":      "",
		"replication: followers":                      "",
		"ci: interop":                                 "",
		"batch: TestPeekFindsTheFirstBatchIfItMay":    "internal/batch has no TestPeekFindsTheFirstBatchIfItMay",
		"batch: TestPeekFindsTheFirstBatch TestNever": "internal/batch has no TestNever",
		"nowhere: TestPeekFindsTheFirstBatch":         "no tests in nowhere",
		"producers: no_such_story":                    "no_such_story.txt",
		"ci: no-such-oracle":                          "no-such-oracle",
		"differs: very much":                          "nothing proves it",
		"":                                            "is no proof",
		"batch:":                                      "is no proof",
		"TestPeekFindsTheFirstBatch":                  "is no proof",
		"batch: TestPeekFindsTheFirstBatch; listener: x; log": "is no proof",
	} {
		wrong, _ := s.check(specRule{"1", "a rule", proof})
		if want == "" {
			require.Empty(t, wrong, proof)
		} else {
			require.Contains(t, strings.Join(wrong, "\n"), want, proof)
		}
	}
}
