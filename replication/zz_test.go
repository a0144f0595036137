package replication
import ("testing";"fmt";"github.com/partlog/partlog/internal/vfs")
func walk(fs vfs.FS, d string) { es, err := fs.ReadDir(d); if err != nil {fmt.Println(d,err)}; for _, e := range es { fmt.Println(d+"/"+e.Name()); if e.IsDir() { walk(fs, d+"/"+e.Name()) } } }
func TestZZ(t *testing.T) { l := local(t, LocalConfig{}); topic(t, l, 1); send(patient(t), t, l.Node(1), orders, "x"); walk(l.places[1].fs, "node") }
