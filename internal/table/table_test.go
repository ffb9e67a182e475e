package table

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	tab := Table{Head: []string{"LINK", "STATE", "NOTE", "ROUTES"}}
	tab.Add(Text("expressroute/primary"), Text("up").Toned(Good), Text(""), Number("128"))
	tab.Add(Text("isp-a/main"), Text("down").Toned(Bad), Text(""), Number("1"))
	var plain, coloured strings.Builder
	if err := tab.Write(&plain, false); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"LINK                  STATE  ROUTES\n" +
		"expressroute/primary  up        128\n" +
		"isp-a/main            down        1\n"
	if plain.String() != want {
		t.Errorf("got\n%swant\n%s", plain.String(), want)
	}
	if err := tab.Write(&coloured, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(coloured.String(), "\x1b[32mup\x1b[0m") {
		t.Errorf("no colour in %q", coloured.String())
	}
}
