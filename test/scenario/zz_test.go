package scenario
import ("testing";"os";"strings";"fmt";"encoding/json")
func TestDebug(t *testing.T){
 f:=os.Getenv("DBG"); if f=="" {return}
 raw,_:=os.ReadFile(f); w:=New()
 for _,line:=range strings.Split(string(raw),"\n"){ words:=strings.Fields(strings.Split(line,"#")[0]); if len(words)==0{continue}
  err:=w.line(words); fmt.Println("==",line,err,w.Problems)
  if w.Set.Status.Rollout!=nil { r:=w.Set.Status.Rollout; fmt.Println("   phase",r.Phase,"id",r.ID,"step",r.CurrentStep,"sync",w.Syncing(),"halt",r.Halt,"wake",w.wake); for _,a:=range w.Set.Status.ApplicationStatus{fmt.Print("   ",a.Application,":",a.Status,"/",a.Reason,"/s",a.Step,"/b",a.Batch,"/a",a.Attempt)};fmt.Println(); if os.Getenv("DBGR")!=""{b,_:=json.Marshal(r.Steps);fmt.Println(string(b));fmt.Println(r.Record)}}
  if err!=nil {break}
 }}
